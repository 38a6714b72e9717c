"""What the archive holds of a version's window. Blocks; imports pyarrow and DuckDB.

An exchange that no student read (no template fitted, no student was there) counts with the version that had answered
last before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from core.archive import Archive
from core.archive.columns import to_comparison, utc
from core.errors import StateError
from core.ledger import Ledger
from core.records import Answerer, Comparison, Kind
from monitoring.report.window import Window

_NEIGHBOURS: Final = 'OVER (ORDER BY "at", id ROWS BETWEEN {span})'
_EXCHANGES: Final = f"""
    WITH told AS (
        SELECT *, epoch_us("at") / 1e6 AS seconds,
               CASE WHEN coalesce(canary, '') = '' THEN student_version END AS champion
        FROM records WHERE "at" >= $1 AND "at" < $2
    ), exchanges AS (
        SELECT *, coalesce(
            student_version, nullif(canary, ''),
            last_value(champion IGNORE NULLS) {_NEIGHBOURS.format(span="UNBOUNDED PRECEDING AND CURRENT ROW")},
            first_value(champion IGNORE NULLS) {_NEIGHBOURS.format(span="CURRENT ROW AND UNBOUNDED FOLLOWING")}
        ) AS of_version FROM told
    )
"""
_OF_VERSION: Final = f"{_EXCHANGES} , mine AS (SELECT * FROM exchanges WHERE of_version = $3)"
_ONCE: Final = "QUALIFY row_number() OVER (PARTITION BY exchange ORDER BY compared_at, id) = 1"

Rows = list[dict[str, Any]]


class Archived:
    """One version's part of the archive in a window. Every method raises StateError where the archive is away."""

    def __init__(self, archive: Archive, ledger: Ledger, task: str, version: str, window: Window) -> None:
        self._archive = archive
        self._index = ledger.archive_index
        self._task = task
        self._version = version
        self._window = window

    def versions(self) -> dict[str, int]:
        """Exchanges in the window, by the version that they count with; most first."""
        sql = f"{_EXCHANGES} SELECT of_version, count(*) AS n FROM exchanges WHERE of_version IS NOT NULL"
        rows = self._rows(
            f"{sql} GROUP BY of_version ORDER BY n DESC, of_version", Kind.EXCHANGE, self._span(self._window)
        )
        return {row["of_version"]: row["n"] for row in rows}

    def until(self) -> float | None:
        """When the newest exchange of the task that is archived was answered; None where there is none."""
        files = self._index.files(self._task, Kind.EXCHANGE.value)
        return max((file.max_at for file in files), default=None)

    def slots(self, seconds: float) -> Rows:
        """`slot`, `answered_by` and `n` exchanges, by parts of the window of so many seconds."""
        slot = f"CAST(floor((seconds - {self._window.began!r}) / {seconds!r}) AS INTEGER)"
        return self._mine(f"SELECT {slot} AS slot, answered_by, count(*) AS n FROM mine GROUP BY ALL")

    def reasons(self) -> dict[str, int]:
        """Exchanges by why they were answered so; most first."""
        rows = self._mine("SELECT reason, count(*) AS n FROM mine GROUP BY reason ORDER BY n DESC, reason")
        return {row["reason"]: row["n"] for row in rows}

    def labels(self) -> Rows:
        """`label` (the student's), `n` exchanges that it read, `confidence` (mean)."""
        return self._mine(
            "SELECT student_label AS label, count(*) AS n, avg(student_confidence) AS confidence FROM mine "
            "WHERE student_label IS NOT NULL AND answered_by != 'nobody' GROUP BY student_label"
        )

    def answerers(self) -> dict[str, dict[str, Any]]:
        """By who answered: `n`, tokens, `cost`, and quantiles of the times in milliseconds."""
        quantiles = ", ".join(f"quantile_cont(total_ms, {share}) AS p{share * 100:.0f}" for share in (0.5, 0.95, 0.99))
        rows = self._mine(
            f"""SELECT answered_by, count(*) AS n, {quantiles}, quantile_cont(upstream_ms, 0.5) AS upstream_p50,
            sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
            sum(cost_usd) AS cost,
            count(*) FILTER (coalesce(prompt_tokens, 0) = 0) AS uncounted, max(in_minute) AS busiest
            FROM (SELECT *, count(*) OVER (PARTITION BY answered_by, date_trunc('minute', "at")) AS in_minute FROM mine)
            GROUP BY answered_by"""
        )
        return {row["answered_by"]: row for row in rows}

    def comparison_costs(self) -> dict[str, Any]:
        """`cost` of all comparisons, and `call`: what asking about an answer of the student costs, in the mean.

        That is Hájek's estimate, of comparisons for which the teacher was asked once; None without any.
        """
        drawn = "outcome = 'answered' AND served_by = 'student' AND again IS NULL AND probability > 0"
        (row,) = self._compared(
            f"""SELECT sum(cost_usd) AS cost, sum(cost_usd / probability) FILTER ({drawn})
            / sum(1 / probability) FILTER ({drawn}) AS call FROM records {{where}}"""
        ) or [{"cost": None, "call": None}]
        return row

    def counts(self) -> tuple[int, int]:
        """Comparisons, and exchanges that the teacher answered: what `comparisons` and `by_teacher` are to hold."""
        compared = self._compared("SELECT count(*) AS n FROM records {where}")
        answered = self._mine("SELECT count(*) AS n FROM mine WHERE answered_by = 'teacher'")
        return (compared[0]["n"] if compared else 0), (answered[0]["n"] if answered else 0)

    def comparisons(self, part: Window, one_in: int) -> list[Comparison]:
        """Those of a part of the window in the order of their exchanges, without texts, each exchange once.

        Of one exchange in `one_in`, chosen by a hash of its id.
        """
        sql = f"SELECT * REPLACE (NULL AS text) FROM records {{where}} {_drawn('exchange', one_in)} {_ONCE}"
        return [to_comparison(row) for row in self._compared(f'{sql} ORDER BY "at", exchange', part)]

    def by_teacher(self, part: Window, one_in: int) -> Rows:
        """`id`, `seconds` and `label` (the student's, or None) of what the teacher answered, in the same way."""
        sql = f"""SELECT id, seconds, student_label AS label FROM mine WHERE answered_by = 'teacher'
            AND seconds >= {part.began!r} AND seconds < {part.ended!r} {_drawn("id", one_in)} ORDER BY "at", id"""
        return self._mine(sql)

    def feedback(self) -> Rows:
        """Exchanges of the window about which a client has said something, with the last word on each.

        `truth`, `answered_by`, `label`, `student_label`, `student_confidence`.
        """
        sql = """SELECT exchange, arg_max(label, "at") AS truth FROM records WHERE "at" >= $1
            GROUP BY exchange HAVING bool_or(source = 'client')"""
        given = self._rows(sql, Kind.FEEDBACK, [utc(self._window.began)], later=True)
        truths = {row["exchange"]: row["truth"] for row in given}
        if not truths:
            return []
        found = self._mine(
            """SELECT id, completion_id, answered_by, label, student_label, student_confidence FROM mine
            WHERE (id IN (SELECT unnest($4)) OR completion_id IN (SELECT unnest($4))) AND label IS NOT NULL""",
            [list(truths)],
        )
        return [row | {"truth": truths.get(row["id"]) or truths[row["completion_id"]]} for row in found]

    def exposure(self) -> Rows:
        """`answered_by`, `label`, `confidence` (in hundredths, rounded down) and `n` of labelled answers."""
        return self._mine(
            """SELECT answered_by, label, floor(student_confidence * 100) / 100 AS confidence, count(*) AS n
            FROM mine WHERE label IS NOT NULL AND answered_by != 'nobody' GROUP BY ALL"""
        )

    def sample(self, rows: int) -> Rows:
        """Whole exchanges that the student read, at most so many, chosen by a hash of their ids."""
        return self._mine(
            f"SELECT * EXCLUDE (seconds, champion, of_version) FROM mine WHERE student_version = $3 "
            f"ORDER BY hash(id) LIMIT {rows:d}"
        )

    def _mine(self, sql: str, more: Sequence[Any] = ()) -> Rows:
        """A query over `mine`: the exchanges of the version."""
        return self._rows(f"{_OF_VERSION} {sql}", Kind.EXCHANGE, [*self._span(self._window), self._version, *more])

    def _compared(self, sql: str, part: Window | None = None) -> Rows:
        """A query over the version's comparisons; `{where}` stands for what these are."""
        where = 'WHERE "at" >= $1 AND "at" < $2 AND student_version = $3'
        parameters = [*self._span(part or self._window), self._version]
        return self._rows(sql.format(where=where), Kind.COMPARISON, parameters)

    def _rows(self, sql: str, kind: Kind, parameters: Sequence[Any], *, later: bool = False) -> Rows:
        """Run a query; no rows where nothing is archived. `later`: also over what came after the window."""
        until = None if later else self._window.ended
        files = self._index.files(self._task, kind.value, since=self._window.began, until=until)
        if not files:
            return []
        try:
            found = self._archive.query_files(sql, files, kind, parameters)
        except (OSError, duckdb.Error, pa.ArrowException) as error:
            raise StateError(
                f"the archive of {self._task!r} cannot be read ({error}); make archive.url reachable, and try again"
            ) from error
        rows: Rows = found.to_pylist()
        return rows

    @staticmethod
    def _span(window: Window) -> list[Any]:
        return [utc(window.began), utc(window.ended)]


def _drawn(column: str, one_in: int) -> str:
    return f"AND hash({column}) % {one_in:d} = 0" if one_in > 1 else ""


STUDENT: Final = Answerer.STUDENT.value
TEACHER: Final = Answerer.TEACHER.value
NOBODY: Final = Answerer.NOBODY.value
