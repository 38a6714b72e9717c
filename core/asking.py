"""Asking a teacher for the label of a text, however often that takes: for labelling, and for shadows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import httpx
from httpx_aiohttp import AiohttpTransport

from core import wire
from core.budget import Budget, most_completion_tokens, worst_case
from core.errors import BudgetExceededError, TeacherError, TeacherTimeoutError, UnreadableAnswerError
from core.labels import LabelSet
from core.prices import Price
from core.settings import TeacherSettings
from core.teacher import TeacherAnswer, label_request, read_answer
from core.teacher_refusals import pause_before, reason_of, retry_after

Sleep = Callable[[float], Awaitable[None]]

ATTEMPTS: Final = 6
"""How often a text is tried, unless the caller says otherwise."""

_RETRIED: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NOT_TAKEN: Final = frozenset({400, 422})
"""Where the endpoint may be telling that it does not know a field of the request."""
_NO_CACHE: Final = {"cache-control": "no-cache"}
_NO_CREDIT: Final = "insufficient_quota"
"""OpenAI's code beside status 429 where waiting does not help."""


class Gate(Protocol):
    """What holds all calls to a teacher back while it is overloaded."""

    async def passed(self) -> None:
        """Return when the next call may be made."""

    def hold(self, seconds: float) -> None:
        """Let nobody pass for so long: the teacher has refused for want of quota."""


def open_client(teacher: TeacherSettings, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client for the teacher: its key, its time-outs, as many connections as calls under way. The caller closes it.

    Raises TeacherError where the variable that should hold the key is not set.
    """
    headers = {"content-type": "application/json"}
    if teacher.api_key_env is not None:
        key = os.environ.get(teacher.api_key_env, "")
        if not key:
            raise TeacherError(
                f"the environment variable {teacher.api_key_env} is not set; it should hold the key for "
                f"{teacher.base_url} (setting teacher.api_key_env)"
            )
        headers["authorization"] = f"Bearer {key}"
    limits = httpx.Limits(
        max_connections=teacher.max_concurrency,
        max_keepalive_connections=teacher.max_concurrency,
        keepalive_expiry=30.0,
    )
    times = teacher.timeouts
    return httpx.AsyncClient(
        base_url=teacher.base_url,
        headers=headers,
        timeout=httpx.Timeout(connect=times.connect, read=times.read, write=times.write, pool=times.pool),
        transport=transport or AiohttpTransport(limits=limits),
    )


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why a try failed that another may follow."""

    text: str
    late: bool = False
    """The teacher took too long."""
    overloaded: bool = False
    wanted: float | None = None
    """Seconds that the teacher asks to wait."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a request asks for beside a label."""

    logprobs: bool
    seed: int | None
    cached: bool
    """Whether a cache may answer."""


class Asker:
    """Asks one teacher, within one budget."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        labels: LabelSet,
        teacher: TeacherSettings,
        price: Price,
        budget: Budget,
        sleep: Sleep = asyncio.sleep,
        *,
        attempts: int = ATTEMPTS,
        gate: Gate | None = None,
    ) -> None:
        """`attempts`: how often a text is tried; `gate`: what calls wait at, and what a 429 closes."""
        self._client = client
        self._labels = labels
        self._teacher = teacher
        self._price = price
        self._budget = budget
        self._sleep = sleep
        self._attempts = attempts
        self._gate = gate
        self._answer_tokens = most_completion_tokens(labels, teacher)
        self._logprobs = True
        self._seeds = True
        self.unreadable_sample = ""
        """The beginning of an answer that was no label."""

    async def ask(
        self, text: str, messages: Sequence[tuple[str, str]] | None = None, *, fresh: int | None = None
    ) -> TeacherAnswer:
        """Return the teacher's answer; its label is None where it cannot be read as one.

        `messages` are the `(role, content)` pairs around the text, where a client sends more than the text alone.
        `fresh`, a number that differs each time, asks for an answer that no cache between us and the teacher has kept:
        it goes along as the request's `seed`, as far as the endpoint takes one, beside `cache-control: no-cache`.

        Overload, failures of the server and of the network are tried again, with growing pauses or the one that the
        teacher asks for. Raises TeacherError where it refuses or keeps failing (TeacherTimeoutError where time was what
        it lacked), UnreadableAnswerError where it answers with something else than a completion, BudgetExceededError
        where the next call could exceed the budget or the account has no credit left.
        """
        trouble = _Trouble("")
        for attempt in range(1, self._attempts + 1):
            if self._gate is not None:
                await self._gate.passed()
            found = await self._try(text, messages, fresh)
            if isinstance(found, TeacherAnswer):
                return found
            trouble = found
            pause = pause_before(attempt) if trouble.wanted is None else trouble.wanted
            if self._gate is not None and trouble.overloaded:
                self._gate.hold(pause)
            if attempt < self._attempts:
                await self._sleep(pause)
        failure = TeacherTimeoutError if trouble.late else TeacherError
        raise failure(
            f"the teacher at {self._teacher.base_url} failed {self._attempts} times in a row: {trouble.text}; "
            "what it answered is kept: go on when it is well again"
        )

    async def _try(
        self, text: str, messages: Sequence[tuple[str, str]] | None, fresh: int | None
    ) -> TeacherAnswer | _Trouble:
        """Ask once, and again where it turns out that the endpoint does not take a field of the request."""
        wanted = _Wanted(self._logprobs, fresh if self._seeds else None, cached=fresh is None)
        try:
            response = await self._send(text, messages, wanted)
            while (less := self._without(wanted, response)) is not None:
                wanted = less
                response = await self._send(text, messages, wanted)
        except httpx.TransportError as error:
            late = isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout)
            return _Trouble(f"{type(error).__name__} {error}".strip(), late=late)
        if response.status_code == httpx.codes.OK:
            return self._read(response)
        trouble = f"{response.status_code} {reason_of(response)}".strip()
        overloaded = response.status_code == httpx.codes.TOO_MANY_REQUESTS
        if overloaded and _NO_CREDIT in response.text:
            raise BudgetExceededError(
                f"the account at {self._teacher.base_url} has no credit left: {trouble}; top it up there"
            )
        if response.status_code not in _RETRIED:
            raise TeacherError(f"the teacher at {self._teacher.base_url} refused: {trouble}{self._hint(response)}")
        return _Trouble(trouble, overloaded=overloaded, wanted=retry_after(response))

    def _without(self, wanted: _Wanted, response: httpx.Response) -> _Wanted | None:
        """What to ask for instead where the endpoint refuses a field, from now on; None where it refuses none."""
        if response.status_code not in _NOT_TAKEN:
            return None
        if wanted.logprobs and "logprob" in response.text:
            self._logprobs = False  # its answers are votes
            return replace(wanted, logprobs=False)
        if wanted.seed is not None and "seed" in response.text:
            self._seeds = False
            return replace(wanted, seed=None)
        return None

    async def _send(self, text: str, messages: Sequence[tuple[str, str]] | None, wanted: _Wanted) -> httpx.Response:
        body = label_request(text, self._labels, self._teacher, logprobs=wanted.logprobs, messages=messages)
        fields: dict[str, int] = {"max_completion_tokens": self._answer_tokens}
        if wanted.seed is not None:
            fields["seed"] = wanted.seed
        body = wire.replace_model(body, self._teacher.model, **fields)
        worst = worst_case(body, self._answer_tokens, self._price)
        await self._budget.reserve(worst)
        cost = worst  # a call that breaks off may be billed all the same
        try:
            headers = None if wanted.cached else _NO_CACHE
            response = await self._client.post("chat/completions", content=body, headers=headers)
            cost = self._cost(response, worst)
        except httpx.ConnectError:
            cost = 0.0
            raise
        finally:
            await self._budget.settle(worst, cost)
        return response

    def _cost(self, response: httpx.Response, worst: float) -> float:
        """Dollars that a call cost by its own account, or the worst case where it gives none."""
        if response.is_client_error:
            return 0.0
        try:
            usage = wire.decode_completion(response.content).tokens
        except ValueError:
            return worst
        if not usage.prompt_tokens and not usage.completion_tokens:
            return worst
        return self._price.cost(usage.prompt_tokens, usage.completion_tokens)

    def _read(self, response: httpx.Response) -> TeacherAnswer:
        try:
            completion = wire.decode_completion(response.content)
        except ValueError as error:
            raise UnreadableAnswerError(
                f"{self._teacher.base_url} answered, but not with a chat completion ({error}); "
                "check teacher.base_url, which ends in /v1 as for OpenAI's clients"
            ) from error
        answer = read_answer(completion, self._labels, self._teacher)
        if answer.label is None and not self.unreadable_sample:
            self.unreadable_sample = (completion.content or "")[:80]
        return answer

    def _hint(self, response: httpx.Response) -> str:
        if response.status_code in {401, 403}:
            variable = self._teacher.api_key_env
            return f"; check the key in {variable}" if variable else "; name the key's variable in teacher.api_key_env"
        if response.status_code == httpx.codes.NOT_FOUND:
            return "; check teacher.base_url (it ends in /v1) and teacher.model"
        return ""
