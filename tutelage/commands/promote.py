"""`tutelage promote`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import DataError
from core.settings import load_settings
from core.telemetry import silence_third_parties
from tutelage.config import find_config

if TYPE_CHECKING:
    from core.registry import Registry


def promote(
    task: Annotated[str | None, typer.Option(help="The task; may be left out where there is only one.")] = None,
    version: Annotated[
        str | None, typer.Option(help="The version to promote; by default the challenger, else the newest candidate.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Make a version champion by hand: no gate is asked.

    It answers what it is trusted with, as its own held-out data showed; the rest goes to the teacher. A run that has
    this version on trial ends.

    Examples:

      tutelage promote --task tickets

      tutelage promote --task tickets --version 4
    """
    silence_third_parties()
    from training.promotion import promote as make_champion
    from tutelage.commands._shared import chosen_task, close, console
    from tutelage.commands._stores import PERSON, opened

    settings = load_settings(find_config(config))
    name = chosen_task(settings, task)
    with opened(settings) as stores:
        chosen = version or _candidate(stores.registry, name)
        before = make_champion(stores.registry, stores.ledger, name, chosen, actor=PERSON, detail={"forced": True})
        trust = stores.ledger.trust(name, chosen).values()
    if before == chosen:
        close(console(), f"version {chosen} is {name}'s champion already")
        return
    instead = f" in place of version {before}" if before else ""
    trusted = sum(row.trusted for row in trust)
    close(
        console(),
        f"version {chosen} is {name}'s champion{instead}, trusted with {trusted} of {len(trust)} classes. "
        f"Back: tutelage rollback --task {name}",
    )


def _candidate(registry: Registry, task: str) -> str:
    """The challenger, else the newest version if it is newer than the champion."""
    from training.promotion import CHALLENGER, CHAMPION

    aliases = registry.aliases(task) or {}
    if CHALLENGER in aliases:
        return aliases[CHALLENGER]
    versions = [found.version for found in registry.versions(task)]
    if versions and int(versions[-1]) > int(aliases.get(CHAMPION, 0)):
        return versions[-1]
    raise DataError(f"{task} has no candidate that is newer than its champion; name one with --version")
