"""`tutelage rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.settings import load_settings
from core.telemetry import silence_third_parties
from tutelage.config import find_config


def rollback(
    task: Annotated[str | None, typer.Option(help="The task; may be left out where there is only one.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")] = "",
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Bring the champion before the present one back, on the trust that it has.

    Called again, it goes one version further back.

    Example:

      tutelage rollback --task tickets --reason "answers refunds as orders"
    """
    silence_third_parties()
    from training.promotion import rollback as bring_back
    from tutelage.commands._shared import chosen_task, close, console
    from tutelage.commands._stores import PERSON, opened

    settings = load_settings(find_config(config))
    name = chosen_task(settings, task)
    with opened(settings) as stores:
        current, previous = bring_back(stores.registry, stores.ledger, name, actor=PERSON, reason=reason)
        trust = stores.ledger.trust(name, previous).values()
    trusted = sum(row.trusted for row in trust)
    close(
        console(),
        f"version {previous} is {name}'s champion again, in place of version {current}, trusted with {trusted} of "
        f"{len(trust)} classes",
    )
