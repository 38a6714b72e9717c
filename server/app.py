"""The student server's ASGI application. Plain ASGI: a framework's routing would cost more than an `ngram` answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import structlog

from core import wire
from core.errors import (
    ApiError,
    BodyTooLargeError,
    InternalError,
    MethodNotAllowedError,
    ModelNotFoundError,
    NotFoundError,
    UnavailableError,
)
from server.completions import Call, ClientGoneError, Rendered, complete
from server.metrics import StudentMetrics
from server.versions import CHALLENGER, CHAMPION, ServedTask, Versions

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CHAT: Final = "/v1/chat/completions"
_MODELS: Final = "/v1/models"
_JSON: Final = b"application/json"
_CLIENT_CLOSED: Final = 499
"""What nginx logs where the client went before its answer; nothing is sent."""

_log = structlog.get_logger()


class StudentApp:
    """`POST /v1/chat/completions`, `GET /v1/models[/NAME]`, `/healthz`, `/readyz`, `/metrics`."""

    def __init__(self, versions: Versions, metrics: StudentMetrics, max_body_bytes: int) -> None:
        self._versions = versions
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._pages: dict[str, Callable[[], Rendered]] = {
            _MODELS: self._models,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._series,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the student server speaks HTTP alone, not {scope['type']}")
        path: str = scope["path"]
        if path == _CHAT and scope["method"] == "POST":
            await self._chat(scope, receive, send)
            return
        try:
            rendered = self._page(path, scope["method"])
        except ApiError as error:
            await _send_error(send, error)
        except Exception:  # noqa: BLE001 - the outermost frame: logged with its traceback, answered with 500
            _log.exception("a page failed", path=path)
            await _send_error(send, InternalError("the server failed; the details are in its log"))
        else:
            await _send(send, 200, rendered)

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call()
        status = _CLIENT_CLOSED  # also where the server gives up on this request
        try:
            headers = _headers(scope["headers"])
            body = await _read(receive, headers.get(b"content-length"), self._max_body_bytes)
            rendered = await complete(
                self._versions,
                body,
                call,
                exchange=_text(headers.get(b"x-tutelage-exchange")),
                buffered=headers.get(b"x-tutelage-buffer") == b"1",
                disconnected=lambda: _until_disconnected(receive),
            )
            status = 200
            await _send(send, status, rendered)
        except ApiError as error:
            status = error.status
            await _send_error(send, error)
        except ClientGoneError:
            status = _CLIENT_CLOSED
        except Exception:  # noqa: BLE001 - the outermost frame: logged with its traceback, answered with 500
            status = 500
            _log.exception("a chat request failed", task=call.task, version=call.version)
            await _send_error(send, InternalError("the server failed; the details are in its log"))
        finally:
            self._metrics.requests.labels(call.task, call.version, str(status)).inc()

    def _page(self, path: str, method: str) -> Rendered:
        name = path.removeprefix(f"{_MODELS}/")
        if path == _CHAT:
            raise MethodNotAllowedError(f"{path} takes POST, not {method}")
        if path not in self._pages and name == path:
            raise NotFoundError(f"there is nothing at {path}; the API is at {_CHAT} and {_MODELS}")
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowedError(f"{path} takes GET, not {method}")
        if path in self._pages:
            return self._pages[path]()
        task = self._versions.find_task(name)
        if task is None or task.name != name:
            raise ModelNotFoundError(f"there is no model {name!r} here", param="model")
        return Rendered(_JSON, wire.encode_json(self._entry(task)))

    def _models(self) -> Rendered:
        data = [self._entry(task) for task in self._versions.tasks]
        return Rendered(_JSON, wire.encode_json({"object": "list", "data": data}))

    def _entry(self, task: ServedTask) -> dict[str, Any]:
        loaded = self._versions.loaded(task.name)
        champion, challenger = loaded.get(CHAMPION), loaded.get(CHALLENGER)
        labels = champion.student.labels if champion is not None else task.labels
        return wire.model_object(task.name, int(champion.since) if champion is not None else 0) | {
            "tutelage": {
                "champion": champion.version if champion is not None else None,
                "challenger": challenger.version if challenger is not None else None,
                "label_set": labels.version if labels is not None else None,
            }
        }

    def _health(self) -> Rendered:
        return Rendered(_JSON, b'{"status":"ok"}')

    def _readiness(self) -> Rendered:
        if not self._versions.ready:
            raise UnavailableError("no task has a champion yet", retry_after=1.0)
        return Rendered(_JSON, b'{"status":"ready"}')

    def _series(self) -> Rendered:
        return Rendered(b"text/plain; version=0.0.4; charset=utf-8", self._metrics.render())


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return dict(pairs)  # the server has put the names in lower case


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None


async def _read(receive: Receive, announced: bytes | None, limit: int) -> bytes:
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body exceeds {limit} bytes; send a shorter text")


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, status: int, rendered: Rendered, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
    headers = [
        (b"content-type", rendered.content_type),
        (b"content-length", str(len(rendered.body)).encode("ascii")),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": rendered.body})


async def _send_error(send: Send, error: ApiError) -> None:
    extra: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        extra.append((b"retry-after-ms", str(int(error.retry_after * 1000)).encode("ascii")))
        extra.append((b"retry-after", str(max(1, round(error.retry_after))).encode("ascii")))
    if isinstance(error, BodyTooLargeError):
        extra.append((b"connection", b"close"))  # the rest of the body is not read
    await _send(send, error.status, Rendered(_JSON, wire.error_body(error)), extra)
