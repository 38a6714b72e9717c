"""One request to a teacher or the default upstream, with all that answering and recording it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core import wire
from core.records import Answerer, Usage
from core.teacher import pack_distribution, vendor_distribution
from router.call import NO_USAGE, Call
from router.client import Client, header_lines
from router.dialects import Dialect, Heard, Request
from router.recorder import Recorder
from router.refusal import hide_key, read_refusal
from router.tasks import Target, Task

_PASSED_HEADERS: Final = (b"retry-after", b"retry-after-ms", b"x-should-retry")
_BYTES_PER_TOKEN: Final = 4


class Attempt:
    """One request to the teacher, with all that answering and recording it needs."""

    __slots__ = ("body", "call", "client", "deadline", "dialect", "recorded", "recorder", "request", "target")

    def __init__(
        self,
        client: Client,
        call: Call,
        target: Target,
        dialect: Dialect,
        request: Request,
        body: bytes,
        recorder: Recorder,
        deadline: float,
    ) -> None:
        """`deadline` is the time of the event loop at which the client is told that nobody answered."""
        self.client = client
        self.call = call
        self.target = target
        self.dialect = dialect
        self.request = request
        self.body = body
        self.recorder = recorder
        self.deadline = deadline
        self.recorded = False

    def record(self, answered_by: Answerer, status: int, **more: object) -> None:
        """Record the exchange, once: a client may still go away while its answer is on the way out."""
        if self.recorded:
            return
        self.recorded = True
        record = self.call.exchange(
            self.target,
            self.request,
            self.body,
            answered_by=answered_by,
            status=status,
            **more,  # type: ignore[arg-type]  # keywords of `exchange`, checked where they are given
        )
        self.recorder.exchange(record)
        if isinstance(self.target, Task) and self.target.budget is not None:
            if answered_by is Answerer.TEACHER:
                self.target.budget.by_teacher(self.call.reason, record.cost_usd)
            else:
                self.target.budget.spent(record.cost_usd)

    def record_answer(self, completion: wire.Completion, output: str | None, spread: Mapping[str, float]) -> None:
        """Record a whole answer of the teacher's, with its distribution: what it said anyway, a student can learn."""
        self.record(
            Answerer.TEACHER,
            200,
            model=completion.model,
            output=output,
            teacher_distribution=self._packed(spread),
            completion_id=completion.id,
            usage=completion.tokens,
        )

    def record_stream(self, heard: Heard, *, complete: bool, error: str = "") -> None:
        """Record a stream as far as it came. Where it broke off before its usage, that is estimated: it is billed."""
        usage = heard.usage
        if usage == NO_USAGE and not complete:
            usage = Usage(self.request.prompt_tokens, max(len(heard.pieces), len(heard.text) // _BYTES_PER_TOKEN))
        labels = self.target.labels
        spread = vendor_distribution(heard.vendor, labels) if labels is not None else {}
        self.record(
            Answerer.TEACHER,
            200,
            model=heard.model,
            output=heard.text,
            teacher_distribution=self._packed(spread),
            completion_id=heard.id,
            usage=usage,
            complete=complete,
            error=error,
        )

    def _packed(self, spread: Mapping[str, float]) -> bytes:
        return pack_distribution(spread, self.target.labels) if self.target.labels is not None else b""


async def pass_error(attempt: Attempt, status: int, headers: Mapping[bytes, bytes], body: bytes) -> None:
    """Pass an upstream's refusal on, with its status, in OpenAI's shape. Raises UpstreamError where it is none."""
    error = read_refusal(status, body)
    hide_key(error, attempt.target.teacher.key)
    attempt.record(Answerer.NOBODY, status, error=error.message)
    passed = header_lines([(name, headers[name]) for name in _PASSED_HEADERS if name in headers])
    await attempt.client.answer(status, wire.error_body(error), attempt.call.answered_lines() + passed)
