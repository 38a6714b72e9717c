"""An upstream: replicas with their breakers, a retry budget, a key, and numbers that say how it goes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final
from urllib.parse import urlsplit

from core.errors import ApiError, SettingsError, UpstreamError
from core.settings import BreakerSettings, RetrySettings, Timeouts
from router.upstream.answer import Answer, Endpoint, HeaderPairs, Response
from router.upstream.breaker import BreakerState
from router.upstream.failures import OUTAGES, ConnectError
from router.upstream.pool import Http1Pool
from router.upstream.replicas import Replica, Replicas
from router.upstream.retry import REFUSALS, RetryBudget
from router.upstream.tls import TlsClient

_PROBE_SECONDS: Final = 3.0

Connect = Callable[[str, str, Timeouts], Endpoint]


def endpoint_for(name: str, url: str, timeouts: Timeouts) -> Endpoint:
    """The way to `url`: http:// by the raw pool, https:// by httpx. Raises SettingsError for anything else."""
    if url.startswith("http://"):
        return Http1Pool(name, url, timeouts)
    if url.startswith("https://"):
        return TlsClient(name, url, timeouts)
    raise SettingsError(f"the address of {name} must begin with http:// or https://")


class Upstream:
    """Whoever can answer: the student or a teacher. For one event loop.

    The counters only ever grow; `/metrics` reads them. `requests`: what was asked of it. `failures`: what was not
    answered, or with a 5xx. `retries`: what was sent again.
    """

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        timeouts: Timeouts,
        *,
        breaker: BreakerSettings,
        retry: RetrySettings,
        api_key_env: str | None = None,
        probe_path: bytes = b"/v1/models",
        replicas_refuse_alone: bool = False,
        clock: Callable[[], float] = time.monotonic,
        connect: Connect = endpoint_for,
    ) -> None:
        """`name` stands for it in messages that clients read.

        `replicas_refuse_alone`: a 429 or 503 speaks for one replica, so another may be asked; at a provider it speaks
        for the account. Raises SettingsError where a URL is not an http:// or https:// address.
        """
        self.name = name
        self.address: Final = _address_of(urls[0])
        """Host and port of its first replica, for traces."""
        self._api_key_env = api_key_env
        self._probe_path = probe_path
        self._refuse_alone = replicas_refuse_alone
        self._attempts = retry.attempts
        self._clock = clock
        self._replicas = Replicas(name, [connect(name, url, timeouts) for url in urls], breaker, clock)
        self._budget = RetryBudget(retry, clock())
        self.requests = 0
        self.failures = 0
        self.retries = 0

    @property
    def key(self) -> str:
        """The key that is sent to it, as the environment has it now; empty where there is none."""
        return "" if self._api_key_env is None else os.environ.get(self._api_key_env, "").strip()

    @property
    def available(self) -> bool:
        """Whether a request would be let through now. Waits for nothing."""
        return self._replicas.available

    @property
    def state(self) -> BreakerState:
        """The best state of any replica's breaker."""
        return self._replicas.state

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """The replicas, each with `index`, `outstanding` and `breaker`."""
        return self._replicas.all

    async def request(
        self,
        path: bytes,
        body: bytes = b"",
        headers: HeaderPairs = (),
        deadline: float | None = None,
        *,
        method: bytes = b"POST",
    ) -> Response:
        """Send a request and return the whole answer, whatever its status. `deadline` is a time of the event loop.

        Raises BreakerOpenError at once where all replicas are left out, UpstreamError where it failed, DeadlineError
        where it took too long, UnavailableError where no connection became free.
        """
        response: Response = (await self._send(method, path, body, headers, deadline, streamed=False))[0]
        return response

    @asynccontextmanager
    async def open(
        self, path: bytes, body: bytes = b"", headers: HeaderPairs = (), deadline: float | None = None
    ) -> AsyncIterator[Answer]:
        """POST a request and yield its answer as soon as the head is there; raises as `request` does.

        Leaving the block ends the answer: one that is not complete is cancelled at once. The deadline holds until the
        answer's end, or until `lift_deadline`.
        """
        found, replica, permit = await self._send(b"POST", path, body, headers, deadline, streamed=True)
        answer: Answer = found
        replica.outstanding += 1
        try:
            yield answer
        finally:
            replica.outstanding -= 1
            if answer.failed:
                self.failures += 1
                replica.failed(permit, self._clock(), "its stream broke off")
            await answer.close()

    async def probe(self) -> list[Response | None]:
        """Ask each replica for its health, past its breaker: what it says, or None where it does not answer.

        A replica that was left out because nothing could connect to it is given its next chance at once.
        """
        return await asyncio.gather(*(self._probe(replica) for replica in self.replicas))

    async def close(self) -> None:
        """Close all connections."""
        for replica in self.replicas:
            await replica.endpoint.close()

    async def _send(
        self, method: bytes, path: bytes, body: bytes, headers: HeaderPairs, deadline: float | None, *, streamed: bool
    ) -> tuple[Any, Replica, int]:
        """Send, and send again where that is safe; the answer, whose it is, and the permit that it used."""
        if self._api_key_env is not None:
            headers = (*headers, _authorization(self.name, self._api_key_env))
        due = inf if deadline is None else deadline
        now = self._clock()
        replica, permit = self._replicas.choose(now)
        self.requests += 1
        self._budget.earn(now)
        tried: tuple[Replica, ...] = ()
        while True:
            replica.outstanding += 1
            tried += (replica,)
            try:
                if streamed:
                    answer: Response | Answer = await replica.endpoint.open(method, path, body, headers, due)
                else:
                    answer = await replica.endpoint.request(method, path, body, headers, due)
                again = self._judge(replica, permit, answer.status, tried)
                if again is None:
                    return answer, replica, permit
                if isinstance(answer, Answer):
                    await answer.close()
            except OUTAGES as error:
                replica.failed(permit, self._clock(), error)
                again = self._another(tried, or_the_same=True) if isinstance(error, ConnectError) else None
                if again is None:
                    self.failures += 1
                    raise
            except BaseException as error:  # the client went, or the request asked too much: nobody is to blame
                replica.breaker.abandoned(permit)
                self.failures += isinstance(error, ApiError)
                raise
            finally:
                replica.outstanding -= 1
            replica, permit = again

    def _judge(
        self, replica: Replica, permit: int, status: int, tried: tuple[Replica, ...]
    ) -> tuple[Replica, int] | None:
        """Note how a replica answered; who is to be asked instead, where it has refused for itself alone."""
        if status < 500:
            replica.succeeded(permit, self._clock())
        else:
            replica.failed(permit, self._clock(), f"status {status}")
        again = self._another(tried) if self._refuse_alone and status in REFUSALS else None
        if status >= 500 and again is None:
            self.failures += 1
        return again

    def _another(self, tried: tuple[Replica, ...], *, or_the_same: bool = False) -> tuple[Replica, int] | None:
        """Who may be asked next, with a permit; None where nobody may, or no retry is left."""
        now = self._clock()
        if len(tried) >= self._attempts or not self._budget.allows(now):
            return None
        found = self._replicas.another(tried, now)
        if found is None and or_the_same:
            found = self._replicas.another((), now)
        if found is not None:
            self._budget.spend(now)
            self.retries += 1
        return found

    async def _probe(self, replica: Replica) -> Response | None:
        deadline = asyncio.get_running_loop().time() + _PROBE_SECONDS
        try:
            key = () if self._api_key_env is None else (_authorization(self.name, self._api_key_env),)
            response = await replica.endpoint.request(b"GET", self._probe_path, b"", key, deadline)
        except ApiError:
            return None
        if response.status < 500:
            replica.seen_alive(self._clock())
        return response


def _address_of(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port


def _authorization(name: str, variable: str) -> tuple[bytes, bytes]:
    """The header with the key, as the environment has it now: a rotated key needs no restart.

    Raises UpstreamError where there is none, or one that cannot be sent.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UpstreamError(f"the key of {name} is missing: set the environment variable {variable}")
    if not key.isascii() or not key.isprintable():
        raise UpstreamError(f"the key of {name} holds characters that no header can; see {variable}")
    return b"authorization", b"Bearer " + key.encode("ascii")
