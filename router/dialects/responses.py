"""`/v1/responses`: `instructions` are a system message, `input` is a message of a user's, or a list of messages."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from core import wire
from core.errors import ApiError, UpstreamError
from router.dialects.base import Dialect, Heard, LabelAnswer, Part, Request, chat_body, estimate_tokens, renamed
from router.dialects.responses_input import ResponsesBody
from router.dialects.responses_label import response_body, response_events
from router.dialects.responses_output import ResponseEvent, ResponseObject

_decoder: Final = msgspec.json.Decoder(ResponsesBody)
_response_decoder: Final = msgspec.json.Decoder(ResponseObject)
_event_decoder: Final = msgspec.json.Decoder(ResponseEvent)


class ResponsesDialect(Dialect):
    """Responses, the newer of OpenAI's two."""

    name = "responses"
    path = "/v1/responses"
    upstream_path = "responses"

    def decode(self, body: bytes) -> Request:
        """Read a request. Raises InvalidRequestError that names the field at fault."""
        found = wire.decode_body(_decoder, body)
        found.check()
        return Request(
            found.model,
            found.messages(),
            bool(found.stream),
            logprobs=found.logprobs,
            user=found.user or found.safety_identifier or "",
            max_output_tokens=found.max_output_tokens,
            prompt_tokens=estimate_tokens(body),
            given=found,
        )

    def upstream_body(self, body: bytes, request: Request, model: str) -> bytes:
        """Replace the model's name. A stream of this dialect tells its usage unasked."""
        return renamed(body, request, model)

    def student_body(self, body: bytes, request: Request, task: str) -> bytes:  # noqa: ARG002  # only chat passes it on
        """The input as a chat request."""
        return chat_body(request, task)

    def whole(self, request: Request, answer: LabelAnswer) -> bytes:
        """Render a response object."""
        return response_body(request, answer, _repeated(request))

    def events(self, request: Request, answer: LabelAnswer) -> bytes:
        """Render the typed events of a response. There is no `[DONE]`: `response.completed` is the last."""
        return response_events(request, answer, _repeated(request))

    def read(self, body: bytes) -> wire.Completion:
        """Read a response object. Raises UpstreamError where it is none."""
        try:
            found = _response_decoder.decode(body)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("the upstream's answer is not a response object") from error
        if found.object != "response":
            raise UpstreamError("the upstream's answer is not a response object")
        return found.completion()

    def hear(self, data: bytes, heard: Heard) -> Part:
        """Read an event. Raises UpstreamError where it is none, or is an `error`."""
        if data == b"[DONE]":  # some upstreams send it here as well
            return Part.DONE
        try:
            event = _event_decoder.decode(data)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("the upstream's stream holds something that is not an event") from error
        return event.hear(heard)

    def error_event(self, error: ApiError, heard: Heard) -> bytes:
        """The event `error`, numbered on; also in the shape of the other dialects, by which clients know a failure."""
        detail = wire.error_object(error)
        document = {
            "type": "error",
            "sequence_number": heard.sequence_number + 1,
            "code": detail["code"],
            "message": detail["message"],
            "param": detail["param"],
            "error": detail,
        }
        return b"event: error\n" + wire.event(wire.encode_json(document))


def _repeated(request: Request) -> dict[str, Any]:
    return request.given.repeated() if isinstance(request.given, ResponsesBody) else {}
