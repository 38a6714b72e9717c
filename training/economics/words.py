"""Numbers as people say them."""

from __future__ import annotations

import math

from monitoring.power import DAYS_A_MONTH


def in_words(months: float) -> str:
    """A time: hours, days, months, years or never."""
    if math.isinf(months):
        return "never"
    days = months * DAYS_A_MONTH
    for size, unit in ((365.25, "years"), (DAYS_A_MONTH, "months"), (1.0, "days")):
        if days >= 2 * size:
            return f"{days / size:.1f} {unit}"
    return f"{days * 24:.1f} hours"
