"""What a person is told about an alarm: what happened, how sure that is, what was done, what it costs, what is next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isinf

from core.ledger import Alarm, AlarmState, Ledger, Run, Severity
from core.retraining import earliest_start
from core.settings import NotifySettings, Settings, TaskSettings
from monitoring.signals import TEACHER
from monitoring.telling import dollars, moment, percent, quotes

_RUNS = 20  # of a task, among which the last one with known costs is looked for


class Event(StrEnum):
    """What there is to tell about an alarm."""

    OPENED = "opened"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready to send."""

    alarm: Alarm
    event: Event
    title: str
    body: str
    """Plain text, a paragraph for each question."""
    link: str
    """An address or a command."""

    @property
    def url(self) -> str:
        """The link where it is an address, else empty."""
        return self.link if "://" in self.link else ""


def compose(alarm: Alarm, event: Event, settings: Settings, ledger: Ledger, now: float) -> Message:
    """The message about an alarm as it stands. Reads the task's runs; `now` in seconds since the epoch."""
    link = link_of(alarm.id, settings.notify)
    title = title_of(alarm, event)
    if event is Event.RESOLVED:
        told = [f"It was resolved at {moment(alarm.resolved or now)}: {alarm.note or 'no reason was given'}."]
    else:
        task = settings.tasks.get(alarm.task)
        told = [what_happened(alarm), f"How sure: {how_sure(alarm)}", f"Done so far: {what_was_done(alarm)}"]
        if task is not None:
            told += [f"Cost: {what_it_costs(alarm, task, ledger)}", f"Next: {what_is_next(alarm, task, ledger, now)}"]
            told += _examples(alarm, task, settings.notify)
    return Message(alarm, event, title, "\n\n".join([*told, f"Evidence: {link}"]), link)


def title_of(alarm: Alarm, event: Event) -> str:
    """One line: how bad, which task, what."""
    name = alarm.cause.replace("_", " ")
    state = "RESOLVED" if event is Event.RESOLVED else alarm.severity.value.upper()
    return f"[{state}] {alarm.task}: {name} (student version {alarm.version})"


def link_of(alarm: str, notify: NotifySettings) -> str:
    """Where a person finds the alarm: an address, or the command that shows it."""
    return notify.link.replace("{id}", alarm) if notify.link else f"tutelage alarms --show {alarm}"


def what_happened(alarm: Alarm) -> str:
    """What tripped, since when, and which classes are concerned."""
    told = str(alarm.evidence.get("what") or f"The signal {alarm.signal} tripped.")
    if alarm.first_exchange:
        told += f" The change is estimated to begin with exchange {alarm.first_exchange}."
    if alarm.labels:
        shown = ", ".join(alarm.labels[:10])
        more = f" and {len(alarm.labels) - 10} more" if len(alarm.labels) > 10 else ""
        told += f" Classes with evidence of loss: {shown}{more}."
    return told


def how_sure(alarm: Alarm) -> str:
    """The promise about false alarms; that there is none where the cause says nothing."""
    return str(alarm.evidence.get("sure") or "this is descriptive; no rate of false alarms is promised.")


def what_was_done(alarm: Alarm) -> str:
    """What was taken from trust."""
    evidence, done = alarm.evidence, []
    withdrawn = evidence.get("withdrawn", {})
    if withdrawn:
        count = f"{len(withdrawn)} {'class' if len(withdrawn) == 1 else 'classes'}"
        done.append(f"trust was taken from {count}, which the teacher answers now")
    threshold = evidence.get("threshold")
    if threshold:
        done.append(
            f"the student answers from confidence {threshold['to']:.3g} on instead of {threshold['from']:.3g}, and the "
            "teacher what is below"
        )
    if done and "teacher_share" in evidence:
        done.append(f"about {percent(evidence['teacher_share'])} of exchanges go to the teacher")
    if evidence.get("budget"):
        done.append(str(evidence["budget"]))
    return ("; ".join(done) or "this alarm took nothing from trust") + "."


def what_it_costs(alarm: Alarm, task: TaskSettings, ledger: Ledger) -> str:
    """The fallback's dollars a day, and what a run may cost."""
    costs, told = alarm.evidence.get("costs") or {}, []
    a_day = costs.get("fallback_usd_a_day")
    if a_day is not None:
        told.append(
            f"the teacher's larger share (was {percent(costs['teacher_share_before'])}) costs about {dollars(a_day)} a "
            f"day at {costs['exchanges_a_day']:,} exchanges a day"
        )
    elif alarm.evidence.get("withdrawn") or alarm.evidence.get("threshold"):
        told.append("what the teacher's larger share costs is not known yet: too little traffic or no price was seen")
    if alarm.retrain:
        limits = task.retrain
        cap = "" if limits.label_budget_usd is None else f", {dollars(limits.label_budget_usd)} at most"
        told.append(f"a run asks the teacher up to {limits.label_budget:,} times{cap}")
        last = next(
            (cost for run in ledger.runs.newest(alarm.task, limit=_RUNS) if (cost := _cost(run)) is not None), None
        )
        if last is not None:
            told.append(f"the last one cost {dollars(last)}")
    return ("; ".join(told) or "nothing but the watching itself") + "."


def _cost(run: Run) -> float | None:
    """What the teacher's calls of a run cost: for labels, and for its trial."""
    parts = [run.record.get(step, {}).get("cost_usd") for step in ("data", "trial")]
    return None if parts[0] is None else sum(part or 0.0 for part in parts)


def what_is_next(alarm: Alarm, task: TaskSettings, ledger: Ledger, now: float) -> str:
    """Whether a run starts, waits, or a person is needed."""
    if alarm.state is AlarmState.RESOLVED:
        return "nothing: it is resolved."
    acted = bool(alarm.evidence.get("withdrawn") or alarm.evidence.get("threshold"))
    if not alarm.retrain:
        why = "not in watch.retrain_on" if alarm.cause not in task.watch.retrain_on else "not evidence enough by itself"
        told = f"this only warns: {alarm.cause} is {why}. Look at it, then resolve it"
        return told + (", or start a run with `tutelage runs --start`." if acted else ".")
    running = ledger.runs.running(alarm.task)
    if running is not None:
        return f"run {running.id} is under way (step {running.step})."
    if task.watch.hold_on_teacher_drift and alarm.evidence.get("teacher_changed"):
        return "it needs you: the teacher has changed, and no run starts before its alarm is resolved."
    held = _held_by(alarm.task, task, ledger)
    if held is not None:
        return f"it needs you: the teacher seems to have changed, and no run starts before alarm {held} is resolved."
    start = earliest_start(ledger.runs, alarm.task, task, now)
    if isinf(start.at):
        return f"it needs you: no run starts by itself, since {start.why}. `tutelage runs --start` starts one."
    if start.at > now:
        return f"a run starts at {moment(start.at)} ({start.why})."
    return "a run starts now; nothing is needed from you unless its candidate is refused."


def _held_by(name: str, task: TaskSettings, ledger: Ledger) -> str | None:
    """The alarm about a changed teacher that must be looked at first, where the settings say so."""
    if not task.watch.hold_on_teacher_drift:
        return None
    return next((one.id for one in ledger.alarms.open(name) if one.cause == TEACHER), None)


def _examples(alarm: Alarm, task: TaskSettings, notify: NotifySettings) -> list[str]:
    if not notify.examples or task.privacy.store != "full":
        return []
    found = quotes(alarm)
    return ["Examples:\n" + "\n".join(found)] if found else []


def escalated(alarm: Alarm) -> bool:
    """Whether there is more to tell than when it opened: clients get worse answers, or drift was confirmed."""
    return alarm.severity is Severity.CRITICAL or bool(alarm.evidence.get("confirmed"))
