"""One request on its way through the gateway: what is known of it so far, and the record that it becomes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from core.ids import Minter, sane_request_id
from core.privacy import Stored
from core.records import Answerer, Exchange, Reason, StudentAnswer, Usage
from router.client import Lines
from router.sampling import NOT_SAMPLED, Sample
from router.tracing import TRACEPARENT, TRACESTATE, passed_on
from router.upstream import HeaderPairs, Upstream

if TYPE_CHECKING:
    from core.ledger.keys import ApiKey
    from router.admission import Grant
    from router.dialects import Request
    from router.spans import RequestSpan, UpstreamSpan
    from router.tasks import Target, Task

NO_USAGE: Final = Usage()
_NOTHING: Final = Stored()


class Call:
    """State of one request. It lives as long as the request does, and nowhere else."""

    __slots__ = (
        "answer",
        "at",
        "authorization",
        "canary",
        "first_byte_seconds",
        "force_teacher",
        "grant",
        "id",
        "key",
        "reason",
        "record",
        "repeats",
        "request_id",
        "sample",
        "span",
        "started",
        "stored",
        "template",
        "text",
        "trace",
        "upstream_seconds",
        "version",
        "wants_vendor",
    )

    def __init__(self, headers: Sequence[tuple[bytes, bytes]], mint: Minter) -> None:
        """Start the clock, mint the id, and read the headers that matter."""
        self.started = time.perf_counter()
        self.at = time.time()
        self.id = mint(self.at)
        given = dict(headers)
        self.repeats = len(given) < len(headers)
        """A header comes twice."""
        get = given.get
        request_id = get(b"x-request-id")
        self.request_id = (sane_request_id(request_id.decode("latin-1")) if request_id else None) or self.id
        self.authorization = get(b"authorization")
        self.trace: HeaderPairs = passed_on(given[TRACEPARENT], get(TRACESTATE)) if TRACEPARENT in given else ()
        """Headers that carry the client's trace on to an upstream."""
        asked = get(b"x-tutelage-answer-by")
        self.force_teacher = asked is not None and asked.strip().lower() == b"teacher"
        asked = get(b"x-tutelage-distribution")
        self.wants_vendor = asked is not None and asked.strip() not in (b"", b"0", b"false")
        self.upstream_seconds = 0.0
        self.first_byte_seconds: float | None = None
        self.span: RequestSpan | None = None
        self.record: Exchange | None = None
        self.key: ApiKey | None = None
        self.grant: Grant | None = None
        self.answer: StudentAnswer | None = None
        self.reason = Reason.NO_STUDENT
        self.version = ""
        self.canary = ""
        self.template = ""
        self.text: str | None = None
        self.stored = _NOTHING
        self.sample: Sample = NOT_SAMPLED

    @property
    def elapsed(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self.started

    def lines(self) -> Lines:
        """Headers that every answer of ours carries."""
        return b"x-request-id: %b\r\nx-tutelage-exchange: %b\r\nopenai-processing-ms: %d\r\n%b" % (
            self.request_id.encode(),
            self.id.encode(),
            (time.perf_counter() - self.started) * 1000,
            b"" if self.grant is None else self.grant.lines,
        )

    def answered_lines(self) -> Lines:
        """The same, with who answered and why. Raises ValueError for a version that no header can hold."""
        if not self.version:
            return b"%bx-tutelage-reason: %b\r\n" % (self.lines(), self.reason.encode())
        if not (self.version.isascii() and self.version.isprintable()):
            raise ValueError("the student server calls its version something that cannot stand in a header")
        return b"%bx-tutelage-reason: %b\r\nx-tutelage-version: %b\r\n" % (
            self.lines(), self.reason.encode(), self.version.encode(),
        )  # fmt: skip

    def release(self) -> None:
        """Give back what was foreseen and not taken, where nothing has been booked."""
        if self.grant is not None:
            self.grant.settle(0, 0.0)

    def exchange(
        self,
        target: Target,
        request: Request,
        body: bytes,
        *,
        answered_by: Answerer,
        status: int = 200,
        model: str = "",
        output: str | None = None,
        teacher_distribution: bytes = b"",
        completion_id: str = "",
        usage: Usage = NO_USAGE,
        complete: bool = True,
        error: str = "",
    ) -> Exchange:
        """The record of this call, and what it took is booked.

        What the task's privacy forbids is left out here, before anything is stored.
        """
        privacy = target.privacy
        cost_usd = target.cost(usage, request.model) if answered_by is not Answerer.STUDENT else 0.0
        if self.grant is not None:
            self.grant.settle(usage.prompt_tokens + usage.completion_tokens, cost_usd)
        seen = self.stored if self.text is not None else privacy.request(body)
        said = privacy.output(output)
        self.record = Exchange(
            id=self.id,
            task=target.name,
            at=self.at,
            answered_by=answered_by,
            reason=self.reason,
            status=status,
            model=model,
            version=self.version,
            template=self.template,
            text=seen.text if isinstance(seen, Stored) else None,
            request=b"" if isinstance(seen, Stored) else seen.body,
            output=said.text,
            label=target.label_of(output),
            teacher_distribution=teacher_distribution,
            student=privacy.student(self.answer),
            completion_id=completion_id,
            request_id=self.request_id if self.request_id != self.id else "",
            user=privacy.user(request.user),
            key=self.key.id if self.key is not None else "",
            usage=usage,
            cost_usd=cost_usd,
            streamed=request.stream,
            complete=complete,
            total_ms=(time.perf_counter() - self.started) * 1000,
            upstream_ms=self.upstream_seconds * 1000,
            error=privacy.note(error) if error else "",
            shadow_probability=self.sample.probability,
            shadow=self.sample.drawn,
            text_hash=seen.hash,
            output_hash=said.hash,
            redacted=seen.redacted or said.redacted,
            canary=self.canary,
        )
        return self.record

    def student_exchange(self, task: Task, request: Request, body: bytes, label: str, usage: Usage) -> Exchange:
        """The same where the student answered.

        Where everything may be kept, which is the usual case, only what is set is written: half the time of `exchange`.
        """
        if not task.privacy.keeps_all or self.text is None:
            return self.exchange(
                task, request, body, answered_by=Answerer.STUDENT, model=task.name, output=label, usage=usage
            )
        if self.grant is not None:
            self.grant.settle(usage.prompt_tokens + usage.completion_tokens, 0.0)
        probability, drawn = self.sample
        self.record = record = Exchange(
            id=self.id,
            task=task.name,
            at=self.at,
            answered_by=Answerer.STUDENT,
            reason=self.reason,
            status=200,
            model=task.name,
            version=self.version,
            template=self.template,
            text=self.text,
            output=label,
            label=task.label_of(label),
            student=self.answer,
            request_id=self.request_id if self.request_id is not self.id else "",
            user=request.user,
            key=self.key.id if self.key is not None else "",
            usage=usage,
            streamed=request.stream,
            total_ms=(time.perf_counter() - self.started) * 1000,
            upstream_ms=self.upstream_seconds * 1000,
            shadow_probability=probability,
            shadow=drawn,
            canary=self.canary,
        )
        return record

    def begin_span(self, model: str, upstream: Upstream, *, stream: bool = False) -> UpstreamSpan | None:
        """Begin the span of a call to an upstream, where this request is traced."""
        if self.span is None:
            return None
        return self.span.upstream(model, *upstream.address, stream=stream)

    def end_span(self, status: int, error: str | None) -> None:
        """End the request's span with what came of it."""
        if self.span is None:
            return
        record = self.record
        if record is None:
            self.span.end(status, exchange=self.id, error=error)
            return
        self.span.end(
            record.status,
            exchange=self.id,
            task=record.task,
            answered_by=record.answered_by,
            reason=record.reason,
            model=record.version or record.model,
            usage=record.usage,
            error=error or (None if record.complete else "incomplete"),
            first_chunk_seconds=self.first_byte_seconds,
        )
