"""Traces: the client's trace context is passed on, always; spans are made where a collector is configured.

Nothing of OpenTelemetry is imported before it is asked for. A gateway without a collector holds None in place of a
`Tracing`, and all that a request pays is the question whether there is one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from core.settings import TracingSettings
    from router.spans import Tracing

Headers = list[tuple[bytes, bytes]]

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?"
)
_MAX_TRACEPARENT: Final = 256
_MAX_TRACESTATE: Final = 512


def passed_on(traceparent: bytes | None, tracestate: bytes | None = None) -> Headers:
    """The headers that carry a client's trace on to an upstream, unaltered, from a gateway that makes no spans.

    Who does not take part in a trace passes it on as it is (https://www.w3.org/TR/trace-context/, section 3.3); what
    is not well formed is left out, and so is a `tracestate` of more than 512 bytes, which nobody has to carry.
    """
    if traceparent is None or len(traceparent) > _MAX_TRACEPARENT or not _TRACEPARENT.fullmatch(traceparent):
        return []
    if not tracestate or len(tracestate) > _MAX_TRACESTATE:
        return [(TRACEPARENT, traceparent)]
    return [(TRACEPARENT, traceparent), (TRACESTATE, tracestate)]


def start_tracing(settings: TracingSettings) -> Tracing | None:
    """Begin to send spans to the collector of the settings; None where there is none. Raises SettingsError."""
    if settings.otlp_endpoint is None:
        return None
    from router.spans import Tracing

    return Tracing(settings)
