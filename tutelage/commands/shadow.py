"""The shadow role by itself, as a container runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tutelage.commands.roles import become


def shadow(
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Run the shadow role: asks the teacher about a sample of what the student answered.

    Example:

      tutelage shadow --config tutelage.yaml
    """
    become("router.shadow.serve", config)
