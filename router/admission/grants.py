"""What an admitted request holds: its headers, and the duty to say what it took."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.admission.buckets import Bucket
from router.admission.headers import Headers
from router.admission.scopes import Scope


class Grant:
    """The right to one request. To be settled once, when its answer is over or it has failed."""

    __slots__ = ("_scopes", "_settled", "_tokens", "_wake")

    def __init__(self, scopes: tuple[Scope, ...], tokens: float, wake: Callable[[Scope], None]) -> None:
        self._scopes = scopes
        self._tokens = tokens
        self._wake = wake
        self._settled = False

    def settle(self, tokens: int, dollars: float) -> None:
        """Book what the request took in fact. Only the first call counts.

        More tokens than were foreseen leave a debt that what refills later pays; fewer are given back.
        """
        if self._settled:
            return
        self._settled = True
        more = tokens - self._tokens
        for scope in self._scopes:
            scope.settle(more, dollars)
            if not scope.awake:
                self._wake(scope)

    @property
    def headers(self) -> Headers:
        """`x-ratelimit-*` of the key or the task, whichever has less left."""
        return rate_headers(self._scopes) if self._scopes else []

    @property
    def lines(self) -> bytes:
        """The same as they go out, each ending in CR LF."""
        if not self._scopes:
            return b""
        requests, tokens = _tightest(self._scopes)
        if requests is None:
            return tokens.lines() if tokens is not None else b""
        return requests.lines() if tokens is None else requests.lines() + tokens.lines()


UNLIMITED: Final = Grant((), 0, lambda _: None)
"""The grant of every request that no limit concerns: it books nothing, and has no headers."""


def rate_headers(scopes: tuple[Scope, ...]) -> Headers:
    """The `x-ratelimit-*` headers, for requests and for tokens each of the scope that has less left."""
    requests, tokens = _tightest(scopes)
    headers: Headers = []
    if requests is not None:
        headers += requests.headers()
    if tokens is not None:
        headers += tokens.headers()
    return headers


def _tightest(scopes: tuple[Scope, ...]) -> tuple[Bucket | None, Bucket | None]:
    """For requests and for tokens the bucket that has less left."""
    requests, tokens = scopes[0].requests, scopes[0].tokens
    for scope in scopes[1:]:
        requests = _tighter(requests, scope.requests)
        tokens = _tighter(tokens, scope.tokens)
    return requests, tokens


def _tighter(one: Bucket | None, other: Bucket | None) -> Bucket | None:
    if one is None or other is None:
        return other if one is None else one
    return one if one.level + one.elsewhere <= other.level + other.elsewhere else other
