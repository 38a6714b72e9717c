"""One request on its way through the gateway: what is known of it so far, and the record that it becomes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.ids import mint, sane_request_id
from core.records import Answerer, Exchange, Reason, StudentAnswer, Usage
from core.wire import ChatRequest
from router.sampling import NOT_SAMPLED, Sample

if TYPE_CHECKING:
    from router.tasks import Task

Headers = list[tuple[bytes, bytes]]

_FORCE_HEADER = b"x-tutelage-answer-by"
_VENDOR_HEADER = b"x-tutelage-distribution"


@dataclass(slots=True)
class Call:
    """State of one request. It lives as long as the request does, and nowhere else."""

    id: str = field(default_factory=mint)
    request_id: str = ""
    started: float = field(default_factory=time.perf_counter)
    at: float = field(default_factory=time.time)
    content_length: int | None = None
    force_teacher: bool = False
    wants_vendor: bool = False
    upstream_seconds: float = 0.0
    answer: StudentAnswer | None = None
    reason: Reason = Reason.NO_STUDENT
    version: str = ""
    template: str = ""
    text: str | None = None
    sample: Sample = NOT_SAMPLED

    @classmethod
    def begin(cls, headers: Iterable[tuple[bytes, bytes]]) -> Call:
        """Start the clock, mint the id, and read the headers that matter."""
        call = cls()
        for name, value in headers:
            if name == b"x-request-id":
                call.request_id = sane_request_id(value.decode("latin-1")) or ""
            elif name == b"content-length" and value.isdigit():
                call.content_length = int(value)
            elif name == _FORCE_HEADER:
                call.force_teacher = value.strip().lower() == b"teacher"
            elif name == _VENDOR_HEADER:
                call.wants_vendor = value.strip() not in (b"", b"0", b"false")
        call.request_id = call.request_id or call.id
        return call

    @property
    def elapsed(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self.started

    def headers(self) -> Headers:
        """Headers that every answer of ours carries."""
        return [
            (b"x-request-id", self.request_id.encode()),
            (b"x-tutelage-exchange", self.id.encode()),
            (b"openai-processing-ms", b"%d" % (self.elapsed * 1000)),
        ]

    def answered_headers(self) -> Headers:
        """The same, with who answered and why."""
        headers = self.headers()
        headers.append((b"x-tutelage-reason", self.reason.encode()))
        if self.version:
            headers.append((b"x-tutelage-version", self.version.encode()))
        return headers

    def exchange(
        self,
        task: Task,
        request: ChatRequest,
        body: bytes,
        *,
        answered_by: Answerer,
        status: int = 200,
        model: str = "",
        output: str | None = None,
        teacher_distribution: bytes = b"",
        completion_id: str = "",
        usage: Usage | None = None,
        complete: bool = True,
        error: str = "",
    ) -> Exchange:
        """The record of this call. What the task's privacy forbids is left out here, before anything is stored."""
        store = task.settings.privacy.store == "full"
        usage = usage or Usage()
        return Exchange(
            id=self.id,
            task=task.name,
            at=self.at,
            answered_by=answered_by,
            reason=self.reason,
            status=status,
            model=model,
            version=self.version,
            template=self.template,
            text=self.text if store else None,
            request=body if store and self.text is None else b"",
            output=output if store else None,
            label=task.labels.match(output),
            teacher_distribution=teacher_distribution if store else b"",
            student=self.answer,
            completion_id=completion_id,
            request_id=self.request_id if self.request_id != self.id else "",
            user=request.user or "",
            usage=usage,
            cost_usd=task.cost(usage) if answered_by is not Answerer.STUDENT else 0.0,
            streamed=bool(request.stream),
            complete=complete,
            total_ms=self.elapsed * 1000,
            upstream_ms=self.upstream_seconds * 1000,
            error=error,
            shadow_probability=self.sample.probability,
            shadow=self.sample.drawn,
        )
