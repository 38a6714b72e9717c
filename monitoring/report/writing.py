"""One report, from the stores to its folder. Blocks."""

from __future__ import annotations

from pathlib import Path

from core.archive import Archive
from core.errors import DataError
from core.ledger import Ledger
from core.settings import Settings
from monitoring.report import store
from monitoring.report.archived import Archived
from monitoring.report.build import build
from monitoring.report.evidently_page import write_evidently
from monitoring.report.facts import EvidentlyFacts, Report
from monitoring.report.page import render
from monitoring.report.window import Window
from monitoring.rules import rules_of


def write_report(
    settings: Settings,
    ledger: Ledger,
    archive: Archive,
    task: str,
    version: str,
    window: Window,
    now: float,
    *,
    evidently: bool = False,
) -> tuple[Report, Path]:
    """Write a version's report; returns it with the page's path. `now`: seconds since the epoch.

    Raises what `build` raises, and DataError where the folder cannot be written.
    """
    folder = store.folder_of(settings, task, version, window)
    told = _evidently(folder, settings, ledger, archive, task, version, window) if evidently else None
    report = build(settings.task(task), ledger, archive, task, version, window, now, told)
    return report, store.write(folder, report, render(report))


def _evidently(
    folder: Path, settings: Settings, ledger: Ledger, archive: Archive, task: str, version: str, window: Window
) -> EvidentlyFacts:
    path = folder / store.EVIDENTLY
    archived, rules = Archived(archive, ledger, task, version, window), rules_of(settings.task(task))
    try:
        why_not = write_evidently(path, archived, ledger, task, version, window, rules)
    except DataError as error:  # our own page is worth having without it
        why_not = error.message
    return EvidentlyFacts(not why_not, why_not)
