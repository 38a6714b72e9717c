"""Putting a student where the server finds it, in an order in which nothing is served that is not trusted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.ledger import Ledger, Threshold, Trust
from core.models.folder import read_card
from core.registry import Registry
from monitoring.statistics.selective import Selection
from training.cascade import describe
from training.promotion import CHAMPION
from training.promotion import promote as make_champion
from training.trust import Verdict

_RUN_TAG: Final = "tutelage.run"


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
    threshold: Selection | None = None,
    promote: bool = False,
    actor: str = "trainer",
    run: str = "",
) -> Registered:
    """Register a student's folder, write down its trust, and only then let an alias point at it.

    Until the alias moves no server fetches the version, so trust is there before its first answer. The first student of
    a task becomes champion, since all that it is not trusted with goes to the teacher as before; a later one stays a
    candidate unless `promote`. Each step is audited.
    """
    version = enter(registry, ledger, task, folder, verdicts, threshold=threshold, actor=actor, run=run)
    trusted = sum(verdict.trusted for verdict in verdicts)
    champion = registry.version_of(task, CHAMPION)
    if promote or champion is None:
        make_champion(registry, ledger, task, version, actor=actor, detail={"forced": champion is not None})
        return Registered(version, champion=True, trusted=trusted)
    return Registered(version, champion=False, trusted=trusted)


def enter(
    registry: Registry,
    ledger: Ledger,
    task: str,
    folder: Path,
    verdicts: Sequence[Verdict],
    *,
    threshold: Selection | None,
    actor: str,
    run: str,
) -> str:
    """Register a student's folder and write down its trust, with no alias; return its version.

    What `run` has registered already is not registered twice.
    """
    tags = {"tutelage.architecture": read_card(folder).architecture} | ({_RUN_TAG: run} if run else {})
    version = _version_of_run(registry, task, run) or registry.register(task, folder, tags)
    write_trust(ledger, task, version, verdicts, threshold)
    trusted = sum(verdict.trusted for verdict in verdicts)
    ledger.audit(actor, "register", task, version, {"run": run, "trusted": trusted, "classes": len(verdicts)})
    return version


def write_trust(
    ledger: Ledger, task: str, version: str, verdicts: Sequence[Verdict], threshold: Selection | None
) -> None:
    """Write down what a version may answer, and from which confidence on: that first, so that nothing less goes out."""
    row = None
    if threshold is not None:
        row = Threshold(task, version, threshold.confidence, threshold.target, describe(threshold), time.time())
    ledger.thresholds.replace(task, version, row)
    ledger.set_trust(task, version, trust_rows(task, version, verdicts))


def trust_rows(task: str, version: str, verdicts: Sequence[Verdict]) -> list[Trust]:
    """Verdicts as the ledger keeps them."""
    now = time.time()
    return [
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


def _version_of_run(registry: Registry, task: str, run: str) -> str | None:
    if not run:
        return None
    return next((v.version for v in registry.versions(task) if v.tags.get(_RUN_TAG) == run), None)
