"""Collecting a report. Blocks; a few seconds for a day of some ten thousand comparisons."""

from __future__ import annotations

from typing import Final

from core.archive import Archive
from core.errors import DataError
from core.ledger import Ledger
from core.prices import price_of
from core.settings import TaskSettings
from monitoring.report.archived import NOBODY, STUDENT, TEACHER, Archived
from monitoring.report.costs import money_of, rounds_of, speed_of
from monitoring.report.deeds import alarms_of, deeds_of, runs_of
from monitoring.report.facts import EvidentlyFacts, Report
from monitoring.report.quality import (
    bands_of,
    calibration_of,
    classes_of,
    missing_of,
    slots_of,
    wrong_classes_of,
    wrong_of,
)
from monitoring.report.replay import estimate, replay
from monitoring.report.summary import Found, summarise
from monitoring.report.truths import feedback_of
from monitoring.report.whole import drift_of, whole_of
from monitoring.report.window import Window
from monitoring.rules import rules_of
from monitoring.snapshot import read_snapshot

_SLOTS: Final = 48


def versions_in(archive: Archive, ledger: Ledger, task: str, window: Window) -> dict[str, int]:
    """Exchanges in the window by the version that they count with, most first. Raises StateError."""
    return Archived(archive, ledger, task, "", window).versions()


def choose_version(archive: Archive, ledger: Ledger, task: str, window: Window) -> str:
    """The champion where it answered in the window, else the version with the most exchanges.

    Raises DataError where no student was asked in the window, StateError where archive or snapshot cannot be read.
    """
    there = versions_in(archive, ledger, task, window)
    if not there:
        raise DataError(
            f"no student of {task!r} read anything in the window {window.name} that is archived by now; choose another "
            "with --from and --to, or --days (`tutelage status` says whether anything is archived)"
        )
    snapshot = read_snapshot(ledger, task)
    champion = "" if snapshot is None else snapshot[0].champion
    return champion if champion in there else next(iter(there))


def build(
    settings: TaskSettings,
    ledger: Ledger,
    archive: Archive,
    task: str,
    version: str,
    window: Window,
    now: float,
    evidently: EvidentlyFacts | None = None,
) -> Report:
    """The report of a version. `now`: seconds since the epoch; `evidently`: what came of its page, where wanted.

    Raises DataError where the version has no exchange in the window, StateError where archive or snapshot cannot be
    read, sqlalchemy.exc.SQLAlchemyError where the ledger is away.
    """
    rules, archived = rules_of(settings), Archived(archive, ledger, task, version, window)
    there = archived.versions()
    if version not in there:
        known = f"; there are {', '.join(there)}" if there else ""
        raise DataError(f"version {version!r} of {task!r} has no exchange in the window {window.name}{known}")
    seconds = window.slots(_SLOTS)
    snapshot, played = read_snapshot(ledger, task), replay(archived, version, window, seconds, rules)
    answerers, labels = archived.answerers(), archived.labels()
    counts = {name: row["n"] for name, row in answerers.items()}
    alarms, runs, deeds = alarms_of(ledger, task, window), runs_of(ledger, task, window), deeds_of(ledger, task, window)
    feedback = feedback_of(archived, played, rules)
    whole, whole_unknown = whole_of(snapshot, version, rules)
    drift, drift_unknown = drift_of(snapshot, version, rules)
    state, error = played.state, rules.interval_error
    agreement, served = estimate(state.student.whole, error), estimate(state.served.whole, error)
    missing, until = missing_of(played), archived.until()
    summary = summarise(
        Found(
            version=version,
            window=window,
            error=error,
            agreement=agreement,
            served=served,
            why_not=_why_not(settings, missing),
            feedback=feedback,
            whole=whole,
            drift=drift,
            alarms=alarms,
            runs=runs,
            deeds=deeds,
        )
    )
    return Report(
        task=task,
        version=version,
        began=window.began,
        ended=window.ended,
        window=window.name,
        written=now,
        archived_until=until,
        other_versions={name: count for name, count in there.items() if name != version},
        state=summary.state,
        headline=summary.headline,
        good=summary.good,
        changed=summary.changed,
        done=summary.done,
        exchanges=sum(counts.values()),
        by_student=counts.get(STUDENT, 0),
        by_teacher=counts.get(TEACHER, 0),
        failed=counts.get(NOBODY, 0),
        reasons=archived.reasons(),
        comparisons=state.number,
        bursts=state.bursts,
        missing=missing,
        one_in=played.one_in,
        interval_error=error,
        agreement=agreement,
        served=served,
        slots=slots_of(archived, played, seconds, rules),
        slot_seconds=seconds,
        classes=classes_of(
            labels,
            played,
            ledger.trust(task, version),
            {label for alarm in alarms if alarm.version == version for label in alarm.classes},
            rules,
        ),
        bands=bands_of(played, rules),
        calibration=calibration_of(played, labels),
        wrong=wrong_of(played, rules),
        wrong_classes=wrong_classes_of(played, rules),
        disagreements=played.disagreements,
        feedback=feedback,
        drift=drift,
        drift_unknown=drift_unknown,
        alarms=alarms,
        runs=runs,
        deeds=deeds,
        money=money_of(archived, answerers, price_of(settings.teacher), rounds_of(ledger, task), runs, window),
        speed=speed_of(answerers, min(now, window.ended) - window.began),
        whole=whole,
        whole_unknown=whole_unknown,
        evidently=evidently,
    )


def _why_not(settings: TaskSettings, missing: dict[str, int]) -> str:
    """Why nothing is known of agreement."""
    if missing:
        told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in missing.items())
        return f"none of the comparisons has the teacher's label ({told})"
    if not settings.samples:
        return "nothing is sampled (shadow.floor, teacher.data_may_leave, privacy.store), and no comparison came"
    return "no comparison of the window is archived"
