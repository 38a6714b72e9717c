"""The report of a run, as a page for people (HTML) and as data (JSON): the same facts in both.

The page stands by itself: no script, style or picture from anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.ledger import Run, RunState, Trust
from training.compare import ClassResult, PairedResult
from training.gates import GateReport
from training.runs.context import RunContext
from training.runs.picture import draw_differences
from training.runs.results import (
    About,
    CanaryResult,
    CandidateResult,
    DataResult,
    RegisterResult,
    TrafficResult,
    TrialResult,
    found,
)
from training.runs.verdict import Verdict
from training.whole import write_whole

_TEMPLATE: Final = "report.html.j2"
_HEADLINES: Final = {
    RunState.PROMOTED: "Promoted",
    RunState.REFUSED: "Refused",
    RunState.FAILED: "Failed",
}


class ClassLine(msgspec.Struct, frozen=True):
    """One class of the report's table. Shares are of the class's held-out texts; None without any."""

    label: str
    texts: int
    champion: float | None
    candidate: float | None
    change: float
    worse_p: float
    visible_drop: float | None
    hurt: bool
    trusted: bool
    was_trusted: bool
    named: bool
    """Whether the alarm named it."""


class Report(msgspec.Struct, frozen=True):
    """Everything that the page shows. Parts that the run did not reach are None."""

    run: str
    task: str
    state: str
    headline: str
    reason: list[str]
    hurt: list[str]
    champion: str
    candidate: str
    started: float
    ended: float
    about: About
    traffic: TrafficResult | None
    data: DataResult | None
    trained: CandidateResult | None
    gates: GateReport | None
    trial: TrialResult | None
    canary: CanaryResult | None
    classes: list[ClassLine]
    class_fdr: float
    teacher_calls: int
    cost_usd: float
    """Of the teacher: labelling for this run, and the trial's comparisons."""
    next: list[str]


def write_report(context: RunContext, run: Run, verdict: Verdict) -> Path:
    """Write `report.json` and `report.html` into the run's folder; return the path of the latter."""
    report = build_report(context, run, verdict)
    folder = context.folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.json", [msgspec.json.format(msgspec.json.encode(report), indent=2), b"\n"])
    write_whole(folder / "report.html", [render(report).encode()])
    return folder / "report.html"


def build_report(context: RunContext, run: Run, verdict: Verdict) -> Report:
    """Collect what the run has found."""
    settings = context.settings.tasks.get(run.task)
    about = found(run, "about", About) or About("", 0.0)
    data, trial = found(run, "data", DataResult), found(run, "trial", TrialResult)
    gates, canary = found(run, "gates", GateReport), found(run, "canary", CanaryResult)
    registered = found(run, "register", RegisterResult)
    candidate = registered.version if registered else ""
    hurt = set(gates.paired.hurt if gates else [])
    if trial is not None and trial.paired is not None:
        hurt |= set(trial.paired.hurt)
    trust = context.ledger.trust(run.task, candidate) if candidate else {}
    return Report(
        run=run.id,
        task=run.task,
        state=verdict.state.value,
        headline=_HEADLINES[verdict.state],
        reason=_reasons(verdict, gates, trial, canary),
        hurt=sorted(hurt),
        champion=run.champion,
        candidate=candidate,
        started=run.started,
        ended=context.clock(),
        about=about,
        traffic=found(run, "await_traffic", TrafficResult),
        data=data,
        trained=found(run, "candidate", CandidateResult),
        gates=gates,
        trial=trial,
        canary=canary,
        classes=[
            _line(result, trust, context.ledger.trust(run.task, run.champion), about, hurt)
            for result in (gates.paired.classes if gates else [])
        ],
        class_fdr=settings.retrain.class_fdr if settings is not None else 0.0,
        teacher_calls=(data.asked if data else 0) + (trial.calls if trial else 0),
        cost_usd=(data.cost_usd if data else 0.0) + (trial.cost_usd if trial else 0.0),
        next=_what_next(context, run, verdict, candidate),
    )


def render(report: Report) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"moment": _moment, "share": _share, "signed": _signed, "p": _p, "sentence": _sentence}
    picture = draw_differences(_pairs(report))
    return environment.get_template(_TEMPLATE).render(report=report, picture=picture)


def _pairs(report: Report) -> dict[str, PairedResult]:
    """Where candidate and champion were compared."""
    pairs = {}
    if report.gates is not None:
        pairs["Hold-out"] = report.gates.paired
    if report.trial is not None and report.trial.paired is not None:
        pairs["Trial on live traffic"] = report.trial.paired
    return pairs


def _line(
    result: ClassResult, trust: Mapping[str, Trust], before: Mapping[str, Trust], about: About, hurt: set[str]
) -> ClassLine:
    texts = result.texts
    known, earlier = trust.get(result.label), before.get(result.label)
    return ClassLine(
        label=result.label,
        texts=texts,
        champion=result.champion / texts if texts else None,
        candidate=result.candidate / texts if texts else None,
        change=(result.candidate - result.champion) / texts if texts else 0.0,
        worse_p=result.worse_p,
        visible_drop=result.visible_drop,
        hurt=result.label in hurt,
        trusted=known is not None and known.trusted,
        was_trusted=earlier is not None and earlier.trusted,
        named=result.label in about.classes,
    )


def _reasons(
    verdict: Verdict, gates: GateReport | None, trial: TrialResult | None, canary: CanaryResult | None
) -> list[str]:
    if verdict.state is RunState.REFUSED and gates is not None and not gates.passed:
        return [refusal.text for refusal in gates.refusals]
    if verdict.state is RunState.REFUSED and trial is not None:
        return list(trial.refusals or (canary.refusals if canary is not None else ()))
    return [verdict.reason]


def _what_next(context: RunContext, run: Run, verdict: Verdict, candidate: str) -> list[str]:
    if verdict.state is RunState.PROMOTED:
        return [
            f"The student server loads version {candidate} and swaps it in between two requests.",
            "The alarm is resolved when it has taken over; it is watched from its first answer.",
            f"tutelage rollback --task {run.task} brings version {run.champion} back.",
        ]
    lines = [
        f"Version {run.champion} goes on serving. What it is not trusted with, the teacher answers.",
    ]
    if verdict.state is RunState.FAILED:
        lines.append("Put right what is said above; the trainer's log has more.")
    settings = context.settings.tasks.get(run.task)
    if settings is not None and settings.retrains and run.alarm:
        lines.append(
            f"While the alarm is open, another candidate is made after {settings.retrain.cooldown_minutes:g} minutes "
            "at the earliest, and must be shown to be good with half the chance of error."
        )
    lines.append(f"tutelage runs --start --task {run.task} starts another run by hand.")
    if candidate and verdict.state is RunState.REFUSED:
        lines.append(f"tutelage promote --task {run.task} --version {candidate} makes it champion all the same.")
    return lines


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _signed(value: float) -> str:
    return f"{value * 100:+.1f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
