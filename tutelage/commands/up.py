"""`tutelage up`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.settings import load_settings
from core.telemetry import configure_logging
from tutelage.config import find_config
from tutelage.up import Up


def up(
    config: Annotated[
        Path | None, typer.Option(help="Settings file; by default tutelage.yaml, else the bundled example's.")
    ] = None,
) -> None:
    """Run everything on this machine: Redis, student, gateway, archiver, and what else the settings ask for.

    Ready as soon as somebody can answer; a task without a student gets one while its teacher answers. Ctrl-C stops it.

    Examples:

      tutelage up

      tutelage up --config tickets/tutelage.yaml
    """
    configure_logging("up")
    path = find_config(config).resolve()
    asyncio.run(Up(path, load_settings(path), Console(highlight=False)).run())
