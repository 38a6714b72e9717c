"""`tutelage trainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tutelage.commands.roles import become


def trainer(
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Run the trainer role: alarms become retraining runs, and runs become better students.

    Example:

      tutelage trainer --config tutelage.yaml
    """
    become("training.serve", config)
