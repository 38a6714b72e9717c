"""Secrets that Tutelage makes for itself: 32 random bytes in a file that its owner alone can read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from core.errors import StartupError, StateError
from core.whole_file import drafted

SECRET_BYTES: Final = 32


def load_secret(path: Path, name: str) -> bytes:
    """Read the secret, or create it; several processes may do it at once. `name` is what messages call it.

    Raises StartupError where it cannot be read or created, StateError where the file holds something else.
    """
    try:
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
    except OSError as error:
        raise StartupError(
            f"{path}: the {name} cannot be read or created ({error.strerror}); make the folder writable, or "
            "choose another with `state`"
        ) from error
    if len(secret) != SECRET_BYTES:
        raise StateError(f"{path}: is no {name}; delete the file, and a new one is made at the next start")
    return secret


def _create(path: Path) -> None:
    """Write the secret beside its place, then link it there: it appears whole, and the first of several wins."""
    with drafted(path, secrets.token_bytes(SECRET_BYTES)) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, path)  # where it exists, somebody else was faster
