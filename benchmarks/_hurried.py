"""Settings under which a house shows within minutes what takes an ordinary one days."""

from __future__ import annotations

from typing import Any


def hurried_task(
    *, reference: int, recent_texts: int, wait_hours: float, trial: int, trial_minimum: int
) -> dict[str, dict[str, Any]]:
    """The sections `shadow`, `watch` and `retrain` of a task that is watched more closely than usual.

    `reference`, `trial` and `trial_minimum` are comparisons; `recent_texts` is what a run waits for, `wait_hours` long.
    """
    return {
        "shadow": {"floor": 0.4, "unsure": 0.8, "calls_per_hour": None},
        "watch": {
            "reference_comparisons": reference,
            "horizon": 5000,
            "cooldown_minutes": 0,
            "burst_window": 20,  # a few thousand messages are sent again and again: that is no burst
            "max_fallback_share": 0.9,  # more than half of what comes is new to the student
        },
        "retrain": {
            "cooldown_minutes": 0,
            "recent_texts": recent_texts,
            "recent_wait_hours": wait_hours,
            "trial_comparisons": trial,
            "trial_minimum": trial_minimum,
            "trial_hours": 0.03,
            "canary_share": 0.25,
            "canary_requests": 40,
            "canary_hours": 0.02,
        },
    }


def hurried_house() -> dict[str, dict[str, Any]]:
    """The sections of the roles."""
    return {
        "archive": {"flush_seconds": 0.5},
        "monitor": {"snapshot_seconds": 1.0},
        "shadow": {},
        "student": {"poll_seconds": 0.5},
    }
