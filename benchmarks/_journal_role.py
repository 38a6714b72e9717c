"""Processes of `benchmarks.journal`: what logs records at a steady rate, and what ships them."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks._journal_parts import make_exchange
from core.ids import mint
from core.journal import Journal
from core.locallog import LogWriter
from core.records import encode
from core.settings import Settings, load_settings
from core.shipper import open_shipper

_LABELS: Final = 10
_VARIETY: Final = 2000
_TICK_SECONDS: Final = 0.002


def write(settings: Settings, rate: float, seconds: float) -> int:
    """Log records at `rate` a second, as evenly as a busy worker would; returns how many were taken."""
    records = [encode(make_exchange(number, _LABELS)) for number in range(_VARIETY)]
    log = LogWriter(settings.log_folder, mint("log"), settings.log.segment_bytes, settings.log.max_bytes)
    made, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for _ in range(int(elapsed * rate) - made):
            log.append(records[made % _VARIETY])
            made += 1
        time.sleep(_TICK_SECONDS)
    log.close()
    return log.records


async def ship(settings: Settings) -> None:
    """Ship as the gateway's parent process does, until killed."""
    await open_shipper(settings, settings.log_folder, Journal.connect(settings.redis.address)).run()


def main() -> int:
    """Entry point of `python -m benchmarks._journal_role`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("write", "ship"))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    options = parser.parse_args()
    settings = load_settings(options.config)
    if options.role == "ship":
        asyncio.run(ship(settings))
    else:
        print(write(settings, options.rate, options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
