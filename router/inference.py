"""The way of a request: admit, decide, forward, record. Plain ASGI, no framework in between: this is the hot path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog
from starlette.types import Receive, Scope, Send

from core.errors import ApiError, InternalError, OverloadedError
from core.ids import Minter
from core.records import Reason
from core.settings import GatewaySettings
from core.templates import first_match
from router.admission import KeyKeeper, Limiter, authorization_of, check_task
from router.by_student import answer_by_student, ask_student
from router.by_teacher import answer_by_teacher
from router.call import Call
from router.client import AsgiClient, Client, ClientGoneError, send_error
from router.dialects import Dialect, Request
from router.metrics import Metrics
from router.policy import Action, Decision, Facts, Failure, after_failure, decide, judge
from router.recorder import Recorder
from router.snapshot import Snapshot
from router.tasks import Target, Targets, Task
from router.upstream import Upstream

if TYPE_CHECKING:
    from router.spans import Tracing

_log = structlog.get_logger(__name__)

_RETRY_SPENT_SECONDS: Final = 60.0


class Inference:
    """The ASGI app of the addresses that answer with a model."""

    def __init__(
        self,
        settings: GatewaySettings,
        dialects: Mapping[str, Dialect],
        targets: Targets,
        keys: KeyKeeper,
        limiter: Limiter,
        snapshot: Snapshot,
        student: Upstream,
        challenger: Upstream,
        recorder: Recorder,
        metrics: Metrics,
        tracing: Tracing | None,
    ) -> None:
        """`dialects` by path; `tracing` where spans are made.

        `challenger` leads to the student server too, by connections and a breaker of its own.
        """
        self._max_in_flight = settings.max_in_flight
        self._max_body_bytes = settings.max_body_bytes
        self._deadline_seconds = settings.deadline_seconds
        self._student_seconds = min(settings.student_seconds, settings.deadline_seconds)
        self._dialects = dialects
        self._targets = targets
        self._keys = keys
        self._limiter = limiter
        self._snapshot = snapshot
        self._student = student
        self._challenger = challenger
        self._recorder = recorder
        self._metrics = metrics
        self._tracing = tracing
        self._mint = Minter()
        self.in_flight = 0
        """Requests under way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI app."""
        await self.serve(self._dialects[scope["path"]], AsgiClient(scope, receive, send))

    async def serve(self, dialect: Dialect, client: Client) -> None:
        """Answer one request; whatever goes wrong before the first byte becomes an error in OpenAI's shape."""
        call = Call(client.headers, self._mint)
        self.in_flight += 1
        status, code = 200, None
        try:
            await self._handle(call, dialect, client)
        except ApiError as error:
            status, code = error.status, error.code
            self._metrics.error(status, code)
            await send_error(client, error, call.lines())
        except ClientGoneError:
            status, code = 499, "client_gone"
            self._metrics.error(status, code)
        except Exception:  # noqa: BLE001  # the last resort: a defect of ours must not become a traceback for a client
            _log.exception("defect", exchange=call.id)
            defect = InternalError(f"something went wrong in the gateway; its log knows more of exchange {call.id}")
            status, code = defect.status, defect.code
            self._metrics.error(status, code)
            await send_error(client, defect, call.lines())
        finally:
            self.in_flight -= 1
            call.release()
            call.end_span(status, code)

    async def _handle(self, call: Call, dialect: Dialect, client: Client) -> None:
        """Admit the request, then have it answered."""
        if call.repeats:
            authorization_of(client.headers)  # refuses a second one
        key = call.key = self._keys.ring.find(call.authorization)
        if self.in_flight > self._max_in_flight:
            raise OverloadedError(
                f"more than {self._max_in_flight} requests are under way (gateway.max_in_flight)", retry_after=1.0
            )
        body = await client.read(self._max_body_bytes)
        request = dialect.decode(body)
        target = self._targets.resolve(request.model)
        check_task(key, target.name)
        if self._tracing is not None:
            call.span = self._tracing.request(
                dialect.operation, target.name, at=call.at, trace=call.trace, stream=request.stream
            )
        call.grant = self._limiter.admit(key, target.name, request.prompt_tokens + (request.max_output_tokens or 0))
        if isinstance(target, Task):
            await self._answer(call, target, dialect, request, body, client)
        else:
            call.reason = Reason.PASSTHROUGH
            await self._by_teacher(call, target, dialect, request, body, client)

    async def _answer(
        self, call: Call, task: Task, dialect: Dialect, request: Request, body: bytes, client: Client
    ) -> None:
        """Decide who answers, and have him do it."""
        readable = self._read(call, task, request)
        canary = self._snapshot.canary(task.name)
        if canary is not None and not canary.takes(request.user or call.id):
            canary = None
        decision = decide(
            Facts(
                readable,
                self._snapshot.champion(task.name),
                self._snapshot.student_up,
                dialect.says_labels,
                call.force_teacher,
                canary is not None,
            ),
            task.fallback,
        )
        if decision.action is Action.ASK_STUDENT:
            student, model = self._student, task.name
            if canary is not None:
                student, model, call.canary = self._challenger, canary.model, canary.version
            said = await ask_student(student, call, dialect, request, body, model, self._student_seconds)
            if isinstance(said, Failure):
                decision = after_failure(said, task.fallback)
            else:
                call.answer = answer = said.answer
                decision = judge(
                    answer,
                    self._snapshot.trusted(task.name),
                    self._snapshot.min_confidence(task.name, answer.version),
                    canary=canary is not None,
                    fallback=task.fallback,
                )
                if decision.action is Action.ANSWER_BY_STUDENT:
                    call.reason, call.version = decision.reason, answer.version
                    self._sample(call, task)
                    if task.budget is not None:
                        task.budget.by_student()
                    await answer_by_student(client, call, task, dialect, request, body, said, self._recorder)
                    return
        call.reason = decision.reason
        if decision.action is Action.REFUSE:
            raise _spent(decision)
        await self._by_teacher(call, task, dialect, request, body, client)

    async def _by_teacher(
        self, call: Call, target: Target, dialect: Dialect, request: Request, body: bytes, client: Client
    ) -> None:
        await client.unless_gone(
            answer_by_teacher(client, call, target, dialect, request, body, self._recorder, self._deadline_seconds)
        )

    def _read(self, call: Call, task: Task, request: Request) -> bool:
        """Whether a template fits; the call then knows which, and the text for the student."""
        messages, unmatched = request.messages, task.unmatched
        unmatched.requests += 1
        found = first_match(task.templates, messages) if messages is not None else None
        if found is None:
            if messages is not None:
                unmatched.note(messages, call.id, request.user, call.at)
            return False
        call.template, call.text = found[0].version, found[1]
        call.stored = task.privacy.text(call.text)
        return True

    def _sample(self, call: Call, task: Task) -> None:
        """Whether the teacher is asked about the student's answer as well, later and elsewhere.

        A redacted text is not what the student has read, so comparing on it would compare two different things.
        """
        if task.sampler is not None and call.text is not None and call.answer is not None and not call.stored.redacted:
            call.sample = task.sampler.draw(call.id, call.answer.confidence, call.text)


def _spent(decision: Decision) -> OverloadedError:
    return OverloadedError(
        "the teacher would have to answer this, and the budget for that is spent (tasks.*.fallback); try again later",
        code=decision.reason.value,
        retry_after=_RETRY_SPENT_SECONDS,
    )
