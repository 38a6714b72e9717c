"""`POST /v1/chat/completions`, the hot path: admit, decide, forward, record. Plain ASGI, no framework in between."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace

import structlog
from starlette.types import Receive, Scope, Send

from core import wire
from core.errors import ApiError, InternalError, OverloadedError
from core.records import StudentAnswer
from core.settings import GatewaySettings
from core.templates import first_match, flatten
from router.by_student import answer_by_student, ask_student
from router.by_teacher import answer_by_teacher
from router.call import Call
from router.metrics import Metrics
from router.policy import Action, Facts, decide
from router.pool import Pool
from router.recorder import Recorder
from router.respond import ClientGoneError, read_body, send_error, until_disconnected
from router.sampling import NOT_SAMPLED, Sample, Sampler
from router.snapshot import Snapshot
from router.tasks import Task, Tasks

_log = structlog.get_logger(__name__)

HOT_PATH = "/v1/chat/completions"


class ChatCompletions:
    """The ASGI app of one address."""

    def __init__(
        self,
        settings: GatewaySettings,
        tasks: Tasks,
        snapshot: Snapshot,
        student: Pool,
        recorder: Recorder,
        metrics: Metrics,
        samplers: Mapping[str, Sampler],
    ) -> None:
        """`samplers` has one for each task whose exchanges are sampled."""
        self._settings = settings
        self._tasks = tasks
        self._snapshot = snapshot
        self._student = student
        self._recorder = recorder
        self._metrics = metrics
        self._samplers = samplers
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong before the first byte becomes an error in OpenAI's shape."""
        call = Call.begin(scope["headers"])
        self._in_flight += 1
        try:
            await self._handle(call, receive, send)
        except ApiError as error:
            self._metrics.error(error.status, error.code)
            await send_error(send, error, call.headers())
        except ClientGoneError:
            self._metrics.error(499, "client_gone")
        except Exception:  # noqa: BLE001  # the last resort: a defect of ours must not become a traceback for a client
            _log.exception("defect", exchange=call.id)
            defect = InternalError(f"something went wrong in the gateway; its log knows more of exchange {call.id}")
            self._metrics.error(defect.status, defect.code)
            await send_error(send, defect, call.headers())
        finally:
            self._in_flight -= 1

    async def _handle(self, call: Call, receive: Receive, send: Send) -> None:
        if self._in_flight > self._settings.max_in_flight:
            raise OverloadedError(
                f"more than {self._settings.max_in_flight} requests are under way (gateway.max_in_flight)",
                retry_after=1.0,
            )
        body = await read_body(receive, self._settings.max_body_bytes, call.content_length)
        request = wire.decode_chat_request(body)
        task = self._tasks.resolve(request.model)
        facts = self._facts(call, task, request)
        decision = decide(facts)
        if decision.action is Action.ASK_STUDENT:
            student = await ask_student(self._student, call, task, request, body)
            if student is None:
                decision = decide(replace(facts, student_failed=True))
            else:
                completion, raw = student
                call.answer = completion.tutelage.answer() if completion.tutelage is not None else None
                decision = decide(replace(facts, answer=call.answer))
                if decision.action is Action.ANSWER_BY_STUDENT and call.answer is not None:
                    call.reason, call.version = decision.reason, call.answer.version
                    call.sample = self._sample(call, task, call.answer)
                    await answer_by_student(send, call, task, request, body, completion, raw, self._recorder)
                    return
        call.reason = decision.reason
        await _unless_gone(
            receive,
            answer_by_teacher(send, call, task, request, body, self._recorder, self._settings.deadline_seconds),
        )

    def _sample(self, call: Call, task: Task, answer: StudentAnswer) -> Sample:
        """Whether the teacher is asked about the student's answer as well, later and elsewhere."""
        sampler = self._samplers.get(task.name)
        if sampler is None or call.text is None:
            return NOT_SAMPLED
        return sampler.draw(call.id, answer.confidence, call.text)

    def _facts(self, call: Call, task: Task, request: wire.ChatRequest) -> Facts:
        messages = None if request.beyond_classifier else flatten(request.messages)
        found = first_match(task.templates, messages) if messages is not None else None
        if found is not None:
            call.template, call.text = found[0].version, found[1]
        return Facts(
            readable=found is not None,
            champion=self._snapshot.champion(task.name),
            student_up=self._snapshot.student_up,
            trusted=self._snapshot.trusted(task.name),
            min_confidence=task.settings.trust.min_confidence,
            force_teacher=call.force_teacher,
        )


async def _unless_gone(receive: Receive, work: Coroutine[None, None, None]) -> None:
    """Run `work`, and cancel it as soon as the client goes away. Raises ClientGoneError then."""
    worker = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(until_disconnected(receive))
    try:
        await asyncio.wait({worker, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not worker.done():
            worker.cancel()
            await asyncio.wait({worker})
            raise ClientGoneError
        worker.result()
    finally:
        for task in (worker, watcher):
            task.cancel()
        await asyncio.gather(worker, watcher, return_exceptions=True)
