"""Importing Evidently, with which a quarter of a million objects come that never go.

Python's garbage collector would look through all of them again and again, half a second each time, in which the whole
process stands still: nothing is read, and no scrape is answered.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings


def import_evidently() -> None:
    """Import it for the first time, telemetry off; the collector then leaves alone what is there. Takes seconds."""
    os.environ["DO_NOT_TRACK"] = "1"  # read when it is imported
    if "evidently.presets" in sys.modules:
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            import evidently.metrics
            import evidently.presets  # noqa: F401 - for those who import it afterwards
        gc.freeze()
        atexit.register(gc.unfreeze)  # DuckDB complains of what nobody collects in the end
    finally:
        if collects:
            gc.enable()
