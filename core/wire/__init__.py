"""OpenAI's shapes on the wire, shared by the gateway and the student server.

Reading: only the fields that we need are decoded; everything else stays in the original bytes, so that a field which
OpenAI adds tomorrow passes through today. Writing: a classifier's answer as an ordinary chat completion, whole or as
server-sent events, and errors in OpenAI's shape.
"""

from core.wire.bodies import ask_for_usage, names_model_once, replace_model, without_field
from core.wire.completions import (
    Chunk,
    Completion,
    VendorField,
    decode_chunk,
    decode_completion,
)
from core.wire.counts import MAX_COUNT, Count, counted
from core.wire.encoding import decode_body, encode_json
from core.wire.events import DONE, error_body, error_event, error_object, event, model_object, models_body
from core.wire.rendering import (
    MAX_TOP_LOGPROBS,
    completion_body,
    completion_events,
    logprob_of,
    token_logprobs,
    usage_object,
)
from core.wire.requests import (
    ChatRequest,
    FeedbackRequest,
    StreamOptions,
    decode_chat_request,
    decode_feedback,
)

__all__ = [
    "DONE",
    "MAX_COUNT",
    "MAX_TOP_LOGPROBS",
    "ChatRequest",
    "Chunk",
    "Completion",
    "Count",
    "FeedbackRequest",
    "StreamOptions",
    "VendorField",
    "ask_for_usage",
    "completion_body",
    "completion_events",
    "counted",
    "decode_body",
    "decode_chat_request",
    "decode_chunk",
    "decode_completion",
    "decode_feedback",
    "encode_json",
    "error_body",
    "error_event",
    "error_object",
    "event",
    "logprob_of",
    "model_object",
    "models_body",
    "names_model_once",
    "replace_model",
    "token_logprobs",
    "usage_object",
    "without_field",
]
