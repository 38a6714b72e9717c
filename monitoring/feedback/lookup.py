"""Looking for the exchanges of feedback in the archive. Blocks; the first look imports pyarrow and DuckDB.

An id of ours says when it was minted, so files of that hour are enough; an upstream's says nothing, and is looked for
in all files of some days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from core.ids import minted_at
from core.ledger import ArchiveFile, Ledger
from core.records import Answerer, Kind
from monitoring.feedback.answered import Answered, Found, probability_of
from monitoring.feedback.state import Pending
from monitoring.rules import Rules

if TYPE_CHECKING:
    from core.archive import Archive

_DAY: Final = 86_400.0
_CLOCK_SECONDS: Final = 3600.0
_LISTED_SECONDS: Final = 600.0  # after a file was written it is listed within these
_EXCHANGES: Final = """
    SELECT id, completion_id, epoch_us("at") AS at_us, answered_by, label, teacher_distribution,
           student_version, student_label, student_confidence
    FROM records WHERE id IN (SELECT unnest($1)) OR completion_id IN (SELECT unnest($1))
"""
_FEEDBACK: Final = """
    SELECT id, exchange, log_source, log_offset
    FROM records WHERE source = 'client' AND exchange IN (SELECT unnest($1))
"""


class FeedbackArchive:
    """Looks for one task's exchanges in the archive."""

    def __init__(self, url: str, ledger: Ledger, task: str, rules: Rules, days: float) -> None:
        """`days`: how old an exchange may be that is called by its completion's id."""
        self._url = url
        self._ledger = ledger
        self._opened: Archive | None = None
        self._index = ledger.archive_index
        self._task = task
        self._rules = rules
        self._days = days

    def look_up(self, wanted: Sequence[Pending], waiting: Collection[str], read: Mapping[str, int]) -> Found:
        """The exchanges of `wanted`, as far as they are archived, and which of them had feedback before.

        Such feedback was read, and is none that waits (`waiting`: ids): `read` says, by source, up to which offset the
        stream of feedback was read when this was asked. Raises what `Archive` raises, and duckdb.Error.
        """
        answered: dict[str, Answered] = {}
        names: dict[str, set[str]] = {}
        for files, asked in self._parts(wanted):
            for row in self._rows(_EXCHANGES, files, Kind.EXCHANGE, asked):
                one = self._answered(row)
                names[one.exchange] = {one.exchange, row["completion_id"] or one.exchange}
                answered.update(dict.fromkeys(names[one.exchange].intersection(asked), one))
        return Found(answered, self._before(answered.values(), names, waiting, read))

    def _parts(self, wanted: Sequence[Pending]) -> Iterable[tuple[list[ArchiveFile], set[str]]]:
        """In which files to look for which names: by day, and what was looked for before in newer files only."""
        groups: dict[tuple[bool, int], list[Pending]] = defaultdict(list)
        for pending in wanted:
            asked = _asked_at(pending.exchange)
            groups[pending.looked > 0, -1 if asked is None else int(asked // _DAY)].append(pending)
        for (again, _), group in sorted(groups.items()):
            times = [asked for pending in group if (asked := _asked_at(pending.exchange)) is not None]
            since = min(times) - _CLOCK_SECONDS if times else min(one.at for one in group) - self._days * _DAY
            until = max(times) + _CLOCK_SECONDS if times else None
            files = self._index.files(self._task, Kind.EXCHANGE.value, since=since, until=until)
            if again:
                newest = min(pending.looked for pending in group) - _LISTED_SECONDS
                files = [file for file in files if file.created >= newest]
            yield files, {pending.exchange for pending in group}

    def _before(
        self,
        answered: Iterable[Answered],
        names: Mapping[str, set[str]],
        waiting: Collection[str],
        read: Mapping[str, int],
    ) -> set[str]:
        own = {name: one.exchange for one in answered for name in names[one.exchange]}
        if not own:
            return set()
        since = min(one.at for one in answered) - _CLOCK_SECONDS
        files = self._index.files(self._task, Kind.FEEDBACK.value, since=since)
        return {
            own[row["exchange"]]
            for row in self._rows(_FEEDBACK, files, Kind.FEEDBACK, own)
            if row["id"] not in waiting and row["log_offset"] <= read.get(row["log_source"], 0)
        }

    def _rows(self, sql: str, files: Sequence[ArchiveFile], kind: Kind, names: Iterable[str]) -> list[dict[str, Any]]:
        if not files:
            return []
        rows: list[dict[str, Any]] = self._archive().query_files(sql, files, kind, [list(names)]).to_pylist()
        return rows

    def _archive(self) -> Archive:
        from core.archive import Archive  # with pyarrow and DuckDB, which a monitor without feedback does not need

        if self._opened is None:
            self._opened = Archive(self._url, self._ledger)
        return self._opened

    def _answered(self, row: Mapping[str, Any]) -> Answered:
        label, distribution = row["label"] or "", row["teacher_distribution"]
        return Answered(
            row["id"],
            row["at_us"] / 1e6,
            Answerer(row["answered_by"]),
            label,
            row["student_version"] or "",
            row["student_label"] or "",
            row["student_confidence"] or 0.0,
            probability_of(label, distribution, self._rules) if distribution else None,
        )


def _asked_at(name: str) -> float | None:
    """When an exchange was asked for, by its id; None where that is an upstream's."""
    try:
        return minted_at(name)
    except ValueError:
        return None
