"""What the student server says it serves: for each task its champion, and its challenger where there is one."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from router.upstream import Response


class Served(msgspec.Struct, frozen=True):
    """The versions of one task."""

    champion: str | None = None
    challenger: str | None = None


class _Model(msgspec.Struct):
    id: str
    tutelage: Served = Served()


class _Models(msgspec.Struct):
    data: list[_Model]


_decoder = msgspec.json.Decoder(_Models)


def read_served(replicas: Iterable[Response | None]) -> dict[str, Served] | None:
    """The versions by task, out of the replicas' answers to `/v1/models`; None where no replica says anything."""
    for response in replicas:
        if response is not None and response.status == 200:
            try:
                return {model.id: model.tutelage for model in _decoder.decode(response.body).data}
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    return None
