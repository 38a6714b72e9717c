"""Asking a teacher for the label of a text, however often that takes: for labelling, and for shadows."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
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

Sleep = Callable[[float], Awaitable[None]]

ATTEMPTS: Final = 6
"""How often a text is tried, unless the caller says otherwise."""

_FIRST_PAUSE: Final = 0.5  # seconds; doubles with every attempt
_LONGEST_PAUSE: Final = 30.0
_LONGEST_RETRY_AFTER: Final = 120.0
_RETRIED: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NO_LOGPROBS: Final = frozenset({400, 422})
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
        self.unreadable_sample = ""
        """The beginning of an answer that was no label."""

    async def ask(self, text: str, messages: Sequence[tuple[str, str]] | None = None) -> TeacherAnswer:
        """Return the teacher's answer; its label is None where it cannot be read as one.

        `messages` are the `(role, content)` pairs around the text, where a client sends more than the text alone.

        Overload, failures of the server and of the network are tried again, with growing pauses or the one that the
        teacher asks for. Raises TeacherError where it refuses or keeps failing (TeacherTimeoutError where time was what
        it lacked), UnreadableAnswerError where it answers with something else than a completion, BudgetExceededError
        where the next call could exceed the budget or the account has no credit left.
        """
        trouble = _Trouble("")
        for attempt in range(1, self._attempts + 1):
            if self._gate is not None:
                await self._gate.passed()
            found = await self._try(text, messages)
            if isinstance(found, TeacherAnswer):
                return found
            trouble = found
            pause = _pause(attempt) if trouble.wanted is None else trouble.wanted
            if self._gate is not None and trouble.overloaded:
                self._gate.hold(pause)
            if attempt < self._attempts:
                await self._sleep(pause)
        failure = TeacherTimeoutError if trouble.late else TeacherError
        raise failure(
            f"the teacher at {self._teacher.base_url} failed {self._attempts} times in a row: {trouble.text}; "
            "what it answered is kept: go on when it is well again"
        )

    async def _try(self, text: str, messages: Sequence[tuple[str, str]] | None) -> TeacherAnswer | _Trouble:
        """Ask once, or twice where it turns out that there are no log-probabilities to be had."""
        logprobs = self._logprobs  # another call may find out meanwhile that there are none
        try:
            response = await self._send(text, messages, logprobs=logprobs)
            if logprobs and response.status_code in _NO_LOGPROBS and "logprob" in response.text:
                self._logprobs = False  # this endpoint offers none: its answers are votes from now on
                response = await self._send(text, messages, logprobs=False)
        except httpx.TransportError as error:
            late = isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout)
            return _Trouble(f"{type(error).__name__} {error}".strip(), late=late)
        if response.status_code == httpx.codes.OK:
            return self._read(response)
        trouble = f"{response.status_code} {_reason(response)}".strip()
        overloaded = response.status_code == httpx.codes.TOO_MANY_REQUESTS
        if overloaded and _NO_CREDIT in response.text:
            raise BudgetExceededError(
                f"the account at {self._teacher.base_url} has no credit left: {trouble}; top it up there"
            )
        if response.status_code not in _RETRIED:
            raise TeacherError(f"the teacher at {self._teacher.base_url} refused: {trouble}{self._hint(response)}")
        return _Trouble(trouble, overloaded=overloaded, wanted=_retry_after(response))

    async def _send(self, text: str, messages: Sequence[tuple[str, str]] | None, *, logprobs: bool) -> httpx.Response:
        body = label_request(text, self._labels, self._teacher, logprobs=logprobs, messages=messages)
        body = wire.replace_model(body, self._teacher.model, max_completion_tokens=self._answer_tokens)
        worst = worst_case(body, self._answer_tokens, self._price)
        await self._budget.reserve(worst)
        cost = worst  # a call that breaks off may be billed all the same
        try:
            response = await self._client.post("chat/completions", content=body)
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


def _pause(attempt: int) -> float:
    """Seconds before another attempt: doubling, with jitter, lest calls that failed together return together."""
    longest = min(_FIRST_PAUSE * 2.0 ** (attempt - 1), _LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _retry_after(response: httpx.Response) -> float | None:
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


def _reason(response: httpx.Response) -> str:
    """What an error answer says, shortened to one line."""
    try:
        document = response.json()
        detail = document["error"]
        text = detail["message"] if isinstance(detail, dict) else str(detail)
    except (ValueError, KeyError, TypeError):
        text = response.text
    return " ".join(str(text).split())[:200]
