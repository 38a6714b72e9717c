"""When a request may be sent again, and how often.

A chat completion costs money each time it is worked on, so it is sent again only where nobody can have worked on it:

- no connection could be made;
- a replica refused it with 429 or 503, and the upstream is one whose replicas refuse each for itself;
- a kept connection was closed under our hands before it was read (the endpoints see to that themselves, since it puts
  no load on anybody).

And never once the answer has begun. Retries have a budget, as in Finagle and Envoy: a share of the requests, so that
an upstream in trouble is not drowned by them.
"""

from __future__ import annotations

from typing import Final

from core.settings import RetrySettings
from router.upstream.window import RatioWindow

REFUSALS: Final = frozenset((429, 503))
"""Statuses by which a replica says that it has not begun."""


class RetryBudget:
    """How many retries the last seconds' requests have earned. Times as in `window`."""

    __slots__ = ("_settings", "_window")

    def __init__(self, settings: RetrySettings, now: float) -> None:
        self._settings = settings
        self._window = RatioWindow(settings.window_seconds, now)

    def earn(self, now: float) -> None:
        """A request has come."""
        self._window.count(now)

    def allows(self, now: float) -> bool:
        """Whether a retry is left."""
        window, settings = self._window, self._settings
        window.move(now)
        return window.marked < settings.minimum + settings.share * window.total

    def spend(self, now: float) -> None:
        """A retry was made."""
        self._window.mark(now)
