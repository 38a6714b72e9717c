"""The roles by themselves, as containers run them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tutelage.config import find_config
from tutelage.supervisor import python

_Config = Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")]


def gateway(
    config: _Config = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that serve; by default gateway.workers.")
    ] = None,
) -> None:
    """Run the gateway role: the OpenAI-compatible address that clients talk to.

    Example:

      tutelage gateway --config tutelage.yaml --workers 4
    """
    if workers is not None:
        os.environ["TUTELAGE_GATEWAY__WORKERS"] = str(workers)  # its workers must read the same
    become("router.serve", config)


def student(config: _Config = None) -> None:
    """Run the student role: the built-in engine that serves the champions of all tasks.

    Example:

      tutelage student --config tutelage.yaml
    """
    become("server.serve", config)


def archiver(config: _Config = None) -> None:
    """Run the archiver role: from the journal into the archive, every record once.

    Example:

      tutelage archiver --config tutelage.yaml
    """
    become("tutelage.archiver", config)


def become(module: str, config: Path | None) -> None:
    """Replace this process by the role's, so that signals reach it, and so that only its own imports are paid for."""
    command = python(module, "--config", str(find_config(config).resolve()))
    os.execv(sys.executable, command)  # noqa: S606  # no shell wanted
