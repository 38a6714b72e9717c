"""What a student was taught, as hashes of clusters: a file in its folder, so that it is there wherever the student is.

A champion knows the texts it was taught by heart, so on them a candidate cannot be compared with it: runs never hold
them out. Eight bytes a cluster tell that, and nothing of what the texts say.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from core.clusters import cluster_id
from core.errors import ModelFolderError

TAUGHT_FILE: Final = "taught.bin"
_BYTES: Final = 8


def cluster_hash(text: str) -> bytes:
    """The hash of a text's near-duplicate cluster, 8 bytes."""
    return bytes.fromhex(cluster_id(text))


def pack_taught(texts: Iterable[str]) -> bytes:
    """The file's content for these texts."""
    return b"".join(sorted({cluster_hash(text) for text in texts}))


def read_taught(folder: Path) -> frozenset[bytes] | None:
    """The clusters that the student in `folder` was taught; None where its folder does not say.

    Raises ModelFolderError where the file is damaged.
    """
    try:
        data = (folder / TAUGHT_FILE).read_bytes()
    except FileNotFoundError:
        return None
    if len(data) % _BYTES:
        raise ModelFolderError(f"{folder}: {TAUGHT_FILE} is cut; copy the folder again")
    return frozenset(data[at : at + _BYTES] for at in range(0, len(data), _BYTES))
