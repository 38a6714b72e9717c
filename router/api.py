"""Everything of the gateway but the hot path, on FastAPI: models, feedback, health, metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastapi import FastAPI, Request, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from core import wire
from core.errors import BodyTooLargeError, InvalidRequestError, UnavailableError
from core.ids import mint
from core.ledger import ApiKey
from core.records import Feedback
from router.admission import KeyKeeper, authorization_of, check_task
from router.api_errors import Framed, add_error_handlers
from router.metrics import CONTENT_TYPE, Metrics
from router.openapi import MAX_ID_CHARACTERS, describe
from router.recorder import Recorder
from router.snapshot import Snapshot
from router.tasks import Targets, Task

_MAX_FEEDBACK_BYTES = 64 * 1024


def build_api(
    inference: ASGIApp,
    paths: Iterable[str],
    targets: Targets,
    keys: KeyKeeper,
    snapshot: Snapshot,
    recorder: Recorder,
    metrics: Metrics,
) -> ASGIApp:
    """Build the app. `inference` answers at `paths`."""
    # No redirection: it would lead to whatever host the client names, and a POST would lose its body on the way.
    app = FastAPI(title="Tutelage gateway", openapi_url=None, redirect_slashes=False)
    add_error_handlers(app, metrics)
    paths = tuple(paths)
    for path in paths:
        app.router.routes.append(Route(path, inference, methods=["POST"]))
    _add_models(app, targets, keys, int(time.time()))
    _add_feedback(app, targets, keys, recorder)
    _add_health(app, targets, keys, snapshot, metrics)
    _add_description(app, paths)
    return Framed(app)


def _add_models(app: FastAPI, targets: Targets, keys: KeyKeeper, created: int) -> None:
    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        """List the tasks and their aliases, as far as the key may use them."""
        key = _key_of(request, keys)
        names = [name for name in targets.names if key is None or key.may(targets.task(name).name)]
        return _json(wire.models_body([(name, created) for name in names]))

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> Response:
        """Describe one task, with its labels."""
        key = _key_of(request, keys)
        task = targets.task(name)
        check_task(key, task.name)
        described = wire.model_object(name, created) | {"tutelage": {"task": task.name, "labels": task.labels.names}}
        return _json(wire.encode_json(described))


def _add_feedback(app: FastAPI, targets: Targets, keys: KeyKeeper, recorder: Recorder) -> None:
    @app.post("/v1/feedback")
    async def feedback(request: Request) -> Response:
        """Take the truth about an exchange, however late it comes."""
        key = _key_of(request, keys)
        given = wire.decode_feedback(await _bounded_body(request))
        task = _task_of(given, targets)
        check_task(key, task.name)
        if not 0 < len(given.exchange) <= MAX_ID_CHARACTERS:
            raise InvalidRequestError("exchange must be the id of an exchange or a completion", param="exchange")
        label = task.labels.match(given.label)
        if label is None:
            near = task.labels.nearest(given.label)
            hint = f"; did you mean {near!r}?" if near else ""
            raise InvalidRequestError(f"{given.label[:80]!r} is not a label of {task.name!r}{hint}", param="label")
        record = Feedback(
            id=mint("fb"),
            task=task.name,
            exchange=given.exchange,
            label=label,
            at=time.time(),
            comment=task.privacy.note(given.comment),
        )
        if not recorder.feedback(record):
            raise UnavailableError("the feedback could not be stored; send it again later", retry_after=30)
        stored = {"id": record.id, "object": "feedback", "exchange": record.exchange, "model": task.name}
        return _json(wire.encode_json(stored | {"label": label}), status=201)


def _add_health(app: FastAPI, targets: Targets, keys: KeyKeeper, snapshot: Snapshot, metrics: Metrics) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        """Whether this process lives. Touches nothing else."""
        return _json(wire.encode_json({"status": "ok"}))

    @app.get("/readyz")
    async def readyz() -> Response:
        """Whether tasks can be answered, and by whom."""
        if not keys.ring.known:
            raise UnavailableError("the gateway cannot read its API keys yet; see its log", retry_after=1)
        answering = {name: snapshot.answering(name) for name in targets.tasks}
        if not any(answering.values()):
            raise UnavailableError("neither a student nor a teacher answers yet; see the gateway's log", retry_after=1)
        return _json(wire.encode_json({"status": "ready", "tasks": answering}))

    @app.get("/metrics")
    async def exposition() -> Response:
        """Prometheus' text format, for all processes of the gateway."""
        return Response(await metrics.exposition(), media_type=CONTENT_TYPE)


def _add_description(app: FastAPI, paths: Iterable[str]) -> None:
    described = wire.encode_json(describe(paths))

    @app.get("/openapi.json")
    async def openapi() -> Response:
        """Describe the addresses."""
        return _json(described)


def _key_of(request: Request, keys: KeyKeeper) -> ApiKey | None:
    """The API key of a request; None where authentication is off. Raises AuthenticationError, InvalidRequestError."""
    return keys.ring.find(authorization_of(request.headers.raw))


def _task_of(given: wire.FeedbackRequest, targets: Targets) -> Task:
    if given.model is not None:
        return targets.task(given.model)
    if len(targets.tasks) > 1:
        raise InvalidRequestError("this gateway serves several tasks; name one as `model`", param="model")
    return next(iter(targets.tasks.values()))


async def _bounded_body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_FEEDBACK_BYTES:
            raise BodyTooLargeError(f"feedback may be at most {_MAX_FEEDBACK_BYTES} bytes")
    return body


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="application/json")
