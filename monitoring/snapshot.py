"""A task's state in the ledger: how the reader stores it, and how others look at it."""

from __future__ import annotations

from typing import Final

import msgspec

from core.errors import StateError
from core.ledger import Ledger
from monitoring.state import TaskState

NAME: Final = "monitor"
"""Of the snapshot."""

_decoder = msgspec.msgpack.Decoder(TaskState)
_encoder = msgspec.msgpack.Encoder()


def read_snapshot(ledger: Ledger, task: str) -> tuple[TaskState, float] | None:
    """The task's state, and when it was stored (seconds since the epoch); None where there is none.

    Raises StateError where it was written by another Tutelage.
    """
    found = ledger.snapshots.load(task, NAME)
    return None if found is None else (decode_state(found.state, task), found.at)


def encode_state(state: TaskState) -> bytes:
    """A state as it is stored."""
    return _encoder.encode(state)


def decode_state(data: bytes, task: str) -> TaskState:
    """Undo `encode_state`. Raises StateError where the data is another Tutelage's."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StateError(
            f"the monitor's snapshot of {task!r} cannot be read ({error}); it was written by another Tutelage: run "
            "that one, or delete the row from the ledger's table `snapshots` to begin anew"
        ) from error
