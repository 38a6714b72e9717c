"""Small files that are there whole or not at all, whoever dies or writes at the same time."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in the place of what is there, readable by its owner alone; of several at once the last stays.

    Raises OSError.
    """
    with drafted(path, data) as draft:
        draft.replace(path)


@contextmanager
def drafted(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside `path` that holds `data`, on disk and readable by its owner alone; it is gone afterwards.

    Every draft has a name of its own, so that several processes may make one at once. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
