"""The monitor role by itself, as a container runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tutelage.commands.roles import become


def monitor(
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Run the monitor role: watches every task's student, raises alarms, withdraws trust, and serves metrics.

    Example:

      tutelage monitor --config tutelage.yaml
    """
    become("monitoring.serve", config)
