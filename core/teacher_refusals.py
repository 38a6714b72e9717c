"""How long a teacher that refused is left alone, and what it said. Pure but for the clock and the jitter."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from core.backoff import doubled

_FIRST_PAUSE: Final = 0.5  # seconds; doubles with every attempt
_LONGEST_PAUSE: Final = 30.0
_LONGEST_RETRY_AFTER: Final = 120.0


def pause_before(attempt: int) -> float:
    """Seconds before another attempt: doubling, with jitter, lest calls that failed together return together."""
    longest = doubled(_FIRST_PAUSE, attempt, _LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that the teacher asks to wait, or None. OpenAI's `retry-after-ms` is the more precise one."""
    milliseconds, value = response.headers.get("retry-after-ms"), response.headers.get("retry-after")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1000
        elif value is None:
            return None
        elif value.replace(".", "", 1).isdigit():
            seconds = float(value)
        else:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def reason_of(response: httpx.Response) -> str:
    """What an error answer says, shortened to one line."""
    try:
        document = response.json()
        detail = document["error"]
        text = detail["message"] if isinstance(detail, dict) else str(detail)
    except (ValueError, KeyError, TypeError):
        text = response.text
    return " ".join(str(text).split())[:200]
