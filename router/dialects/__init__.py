"""The addresses at which clients ask, one `Dialect` each, so that the way of a request is the same for all of them."""

from router.dialects.base import Dialect, Heard, LabelAnswer, Part, Request, chat_body
from router.dialects.chat import ChatDialect
from router.dialects.completions import CompletionsDialect
from router.dialects.embeddings import EmbeddingsDialect
from router.dialects.responses import ResponsesDialect

__all__ = [
    "ChatDialect",
    "CompletionsDialect",
    "Dialect",
    "EmbeddingsDialect",
    "Heard",
    "LabelAnswer",
    "Part",
    "Request",
    "ResponsesDialect",
    "all_dialects",
    "chat_body",
]


def all_dialects() -> dict[str, Dialect]:
    """Every dialect that the gateway speaks, by its path."""
    dialects = (ChatDialect(), CompletionsDialect(), ResponsesDialect(), EmbeddingsDialect())
    return {dialect.path: dialect for dialect in dialects}
