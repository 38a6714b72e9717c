"""Putting a student where the server finds it, in an order in which nothing is served that is not trusted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.ledger import Ledger, Trust
from core.models.folder import read_card
from core.registry import Registry
from training.trust import Verdict


@dataclass(frozen=True, slots=True)
class Registered:
    """The version that a student became, and whether it is the champion now."""

    version: str
    champion: bool
    trusted: int
    """Classes that it may answer."""


def register(
    registry: Registry,
    ledger: Ledger,
    task: str,
    folder: Path,
    verdicts: Sequence[Verdict],
    *,
    promote: bool = False,
    actor: str = "trainer",
    run: str = "",
) -> Registered:
    """Register a student's folder, write down its trust, and only then let an alias point at it.

    Until the alias moves no server fetches the version, so trust is there before its first answer. The first student of
    a task becomes champion, since all that it is not trusted with goes to the teacher as before; a later one stays a
    candidate unless `promote`. Each step is audited.
    """
    tags = {"tutelage.architecture": read_card(folder).architecture} | ({"tutelage.run": run} if run else {})
    version = registry.register(task, folder, tags)
    now = time.time()
    rows = [
        Trust(
            task=task,
            version=version,
            label=verdict.label,
            trusted=verdict.trusted,
            agreement=verdict.agreement,
            examples=verdict.examples,
            evidence=verdict.evidence,
            at=now,
        )
        for verdict in verdicts
    ]
    ledger.set_trust(task, version, rows)
    trusted = sum(verdict.trusted for verdict in verdicts)
    ledger.audit(actor, "register", task, version, {"run": run, "trusted": trusted, "classes": len(rows)})
    champion = registry.version_of(task, "champion")
    if promote or champion is None:
        registry.set_alias(task, "champion", version)
        ledger.audit(actor, "promote", task, version, {"from": champion, "forced": champion is not None})
        return Registered(version, champion=True, trusted=trusted)
    return Registered(version, champion=False, trusted=trusted)
