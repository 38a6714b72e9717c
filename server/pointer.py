"""The last-known-good pointer: which version served last, so that a restart serves without asking the registry.

`<state>/students/<task>/<version>/` are copies of the registry's folders; `<state>/students/<task>/champion.json` is
the pointer, with its own checksum and that of the folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Final

import msgspec

from core.errors import StateError
from core.models.folder import verify_folder

_SCHEMA: Final = 1


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """Which version an alias meant when it was last loaded with success."""

    task: str
    alias: str
    version: str
    folder_digest: str
    """Digest of the folder's SHA256SUMS."""
    written: float
    """Seconds since the epoch."""
    schema: int = _SCHEMA


class _Sealed(msgspec.Struct, frozen=True):
    pointer: msgspec.Raw
    sha256: str


class Pointers:
    """The pointers and the copies of one server, under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def version_folder(self, task: str, version: str) -> Path:
        """Where the copy of a version stands."""
        return self._folder / task / version

    def write(self, task: str, alias: str, version: str) -> None:
        """Point `alias` at the copy of `version`: checked, forced to disk, and renamed into place."""
        digest = verify_folder(self.version_folder(task, version))
        pointer = Pointer(task=task, alias=alias, version=version, folder_digest=digest, written=time.time())
        data = msgspec.json.encode(pointer)
        sealed = msgspec.json.encode(_Sealed(msgspec.Raw(data), hashlib.sha256(data).hexdigest()))
        path = self._path(task, alias)
        beside = path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def read(self, task: str, alias: str) -> Pointer | None:
        """The pointer, or None where there is none.

        Raises StateError where it is damaged, was written by a newer Tutelage, or its folder is not the one it was
        written for; ModelFolderError where the folder is damaged.
        """
        path = self._path(task, alias)
        try:
            sealed = msgspec.json.decode(path.read_bytes(), type=_Sealed)
            intact = hashlib.sha256(bytes(sealed.pointer)).hexdigest() == sealed.sha256
            pointer = msgspec.json.decode(sealed.pointer, type=Pointer)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise StateError(
                f"{path}: cannot be read ({error}); delete it, it is written again from the registry"
            ) from error
        if not intact or pointer.schema > _SCHEMA:
            raise StateError(f"{path}: is damaged or newer than this Tutelage; delete it, it is written again")
        if verify_folder(self.version_folder(task, pointer.version)) != pointer.folder_digest:
            raise StateError(
                f"{path}: its folder is another one than it was written for; delete both, they are fetched again"
            )
        return pointer

    def remove(self, task: str, alias: str) -> None:
        """Forget the pointer of `alias`."""
        self._path(task, alias).unlink(missing_ok=True)

    def prune(self, task: str, keep: set[str]) -> None:
        """Delete the copies of versions not in `keep`, and what an interrupted copy left behind."""
        for path in (self._folder / task).iterdir():
            if path.is_dir() and path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def _path(self, task: str, alias: str) -> Path:
        return self._folder / task / f"{alias}.json"
