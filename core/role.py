"""How a role's process begins and ends: options, logging, and one line where it cannot go on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from core.errors import TutelageError
from core.telemetry import configure_logging


def run_role(role: str, module: str, description: str | None, work: Callable[[Path], None]) -> int:
    """Entry point of `python -m module --config FILE`: run `work` with that file; returns the exit code.

    `role` is the name under which it logs.
    """
    parser = argparse.ArgumentParser(prog=module, description=description)
    parser.add_argument("--config", type=Path, required=True)
    config: Path = parser.parse_args().config
    configure_logging(role)
    return exit_code(lambda: work(config))


def exit_code(work: Callable[[], None]) -> int:
    """Run `work`: 0, or 1 where it raised one of our errors, of which the one line that a person reads is printed."""
    try:
        work()
    except TutelageError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    return 0
