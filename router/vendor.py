"""The vendor field `tutelage` of completions that our own servers make: taken out, unless the client asked for it."""

from __future__ import annotations

from core import wire
from core.labels import LabelSet

_KEY = b',"tutelage":'


def without_vendor(raw: bytes, vendor: wire.VendorField, labels: LabelSet, *, wanted: bool) -> bytes:
    """Cut the field out of a completion, or put its readable form in its place where it is `wanted`.

    Our servers write it last, so cutting is enough: the key cannot occur inside a string, where its quotes would be
    escaped.
    """
    start = raw.rfind(_KEY)
    rest = raw[:start] if start > 0 else wire.without_field(raw, "tutelage")[:-1]
    if wanted:
        rest += _KEY + wire.encode_json(vendor.expanded(labels))
    return rest + b"}"


def chunk_without_vendor(event: bytes) -> bytes:
    """Cut the field out of an event that holds a chunk. An event with a name is none of chat's, and goes as it came."""
    if b'"tutelage":' not in event or not event.startswith(b"data:"):
        return event
    return wire.event(wire.without_field(event[len(b"data:") :].strip(), "tutelage"))
