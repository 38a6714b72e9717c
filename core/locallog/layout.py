"""How a log lies on disk, for the two sides that must agree on it. `core.locallog` describes it."""

from __future__ import annotations

import re
import struct
from typing import Final

HEADER: Final = struct.Struct("<II")
"""In front of every payload: its length and its CRC-32."""
MAX_RECORD_BYTES: Final = 64 * 1024 * 1024
"""A longer frame is taken for damage."""
LOCK: Final = "lock"
FINISHED: Final = "finished"
SOURCE: Final = re.compile(r"log_[0-9a-f]{32}")
"""What sources are called: nothing else below the folder is touched."""


def segment_name(start: int) -> str:
    """The file name of the segment that begins at an offset."""
    return f"{start:020d}.log"
