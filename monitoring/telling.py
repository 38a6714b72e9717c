"""Numbers, times and examples of an alarm in words, for messages and for the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from core.ledger import Alarm

_TEXT: Final = 120
_EXAMPLES: Final = 3


def percent(share: float) -> str:
    """0.9312 as `93.1 %`."""
    return f"{100 * share:.1f} %"


def dollars(amount: float) -> str:
    """An amount with as many digits as it needs."""
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.2g}"


def moment(at: float) -> str:
    """A time in UTC, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def interval(summary: dict[str, Any]) -> str:
    """A summary of `monitoring.evidence.summary`: estimate, limits and sample size."""
    if summary.get("estimate") is None:
        return "unknown (no comparisons)"
    limits = summary.get("interval")
    between = "" if limits is None else f", between {percent(limits[0])} and {percent(limits[1])}"
    return f"{percent(summary['estimate'])}{between} ({summary['comparisons']:,} comparisons)"


def quotes(alarm: Alarm) -> list[str]:
    """The alarm's examples, one line each; those without text name their exchange."""
    lines = []
    for example in alarm.evidence.get("examples", [])[:_EXAMPLES]:
        text = " ".join(str(example.get("text") or example["exchange"]).split())
        shown = text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"
        answers = f"student: {example.get('student', '?')}, teacher: {example.get('teacher', '?')}"
        if "before" in example:
            answers = f"teacher: {example['before'] or 'no label'}, now {example['now'] or 'no label'}"
        lines.append(f"- {shown} ({answers})")
    return lines
