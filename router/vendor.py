"""The vendor field `tutelage` of completions that our own servers make: taken out, unless the client asked for it."""

from __future__ import annotations

from core import wire
from core.errors import UpstreamError
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


def somebodys_without_vendor(raw: bytes, vendor: wire.VendorField, labels: LabelSet, *, wanted: bool) -> bytes:
    """The same of a completion that need not be one of our servers': the field may stand anywhere, and hold anything.

    Raises UpstreamError where it cannot be read.
    """
    try:
        document = wire.without_field(raw, "tutelage")
        return document[:-1] + _KEY + wire.encode_json(vendor.expanded(labels)) + b"}" if wanted else document
    except (ValueError, RecursionError) as error:
        raise UpstreamError("the upstream's answer has a field `tutelage` that cannot be read") from error


def chunk_without_vendor(event: bytes, data: bytes) -> bytes:
    """Cut the field out of an event whose `data` is a chunk. One with a name is none of chat's, and stays as it is.

    Raises UpstreamError where it cannot be read.
    """
    if b'"tutelage":' not in event or not event.startswith(b"data:"):
        return event
    try:
        return wire.event(wire.without_field(data.replace(b"\n", b" "), "tutelage"))  # in JSON a line end is a blank
    except (ValueError, RecursionError) as error:
        raise UpstreamError("the upstream's stream has a field `tutelage` that cannot be read") from error
