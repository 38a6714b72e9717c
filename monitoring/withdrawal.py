"""From which classes an alarm takes trust, within the fallback budget. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Literal

from core.ledger import Alarm, Trust
from monitoring.evidence import ClassEvidence, Evidence
from monitoring.rules import Rules
from monitoring.traffic import Traffic

Policy = Literal["rejudged", "named", "none"]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What is to be done about trust."""

    withdrawn: tuple[str, ...]
    """Classes that lose it now."""
    kept: tuple[str, ...]
    """Classes that should, and keep it since the teacher would answer too much otherwise; the least hurt ones."""
    teacher_share: float
    """Expected share of exchanges that the teacher answers afterwards."""


def plan(
    evidence: Evidence,
    surely: AbstractSet[str],
    trusted: AbstractSet[str],
    gone: AbstractSet[str],
    traffic: Traffic,
    rules: Rules,
    policy: Policy,
    most: float,
) -> Withdrawal:
    """Choose classes of those that are `trusted`.

    `surely`: classes whose own detector tripped; `gone`: those that lost trust before, whose exchanges count as the
    teacher's already; `most`: the largest share that the teacher may answer. The worst are chosen first.
    """
    if policy == "none":
        return Withdrawal((), (), traffic.teacher_share(gone))
    rows = {row.label: row for row in evidence.classes}
    wanted = [label for label in trusted if _should(label, rows.get(label), surely, rules, policy)]
    wanted.sort(key=lambda label: _order(label, rows.get(label), surely))
    withdrawn: list[str] = []
    kept: list[str] = []
    for label in wanted:
        within = traffic.teacher_share({*gone, *withdrawn, label}) <= most
        (withdrawn if within else kept).append(label)
    return Withdrawal(tuple(withdrawn), tuple(kept), traffic.teacher_share({*gone, *withdrawn}))


def _should(label: str, row: ClassEvidence | None, surely: AbstractSet[str], rules: Rules, policy: Policy) -> bool:
    if label in surely or (row is not None and row.named):
        return True
    return policy == "rejudged" and row is not None and row.shrunk < rules.min_agreement


def _order(label: str, row: ClassEvidence | None, surely: AbstractSet[str]) -> tuple[bool, float, str]:
    """Those with evidence first, then by how little they agree."""
    return not (label in surely or (row is not None and row.named)), row.shrunk if row is not None else 0.0, label


def withdrawn_rows(
    trust: dict[str, Trust], labels: tuple[str, ...], evidence: Evidence, alarm: str, at: float
) -> list[Trust]:
    """The version's trust, as it is after these labels lost it."""
    rows = {row.label: row for row in evidence.classes}
    return [
        row if row.label not in labels else _distrusted(row, rows.get(row.label), alarm, at) for row in trust.values()
    ]


def _distrusted(row: Trust, evidence: ClassEvidence | None, alarm: str, at: float) -> Trust:
    seen = evidence.after if evidence is not None else (0.0, 0.0)
    text = (
        f"withdrawn by alarm {alarm}: agreed with the teacher on {seen[1]:.0%} of {seen[0]:.0f} answers since the "
        f"change (before: {row.evidence})"
    )
    return replace(row, trusted=False, evidence=text, at=at)


def restored_rows(trust: dict[str, Trust], alarm: Alarm, at: float) -> list[Trust]:
    """The version's trust, as it is once what `alarm` withdrew is given back."""
    given = alarm.evidence.get("withdrawn", {})
    return [_restored(row, given[row.label], alarm.id, at) if row.label in given else row for row in trust.values()]


def _restored(row: Trust, before: dict[str, Any], alarm: str, at: float) -> Trust:
    text = f"{before['evidence']} (given back when alarm {alarm} was resolved)"
    return replace(row, trusted=True, evidence=text, at=at)
