"""The monitor without its streams: exchanges in order, a clock that is theirs, and the alarms that come of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from benchmarks._shift_world import TASK, Taught, World, probabilities_of
from core.clusters import cluster_id
from core.ids import mint
from core.labels import pack_floats
from core.ledger import Ledger
from core.records import Answerer, Comparison, Exchange, Outcome, Reason, StudentAnswer
from monitoring.alarms import Reviewer
from monitoring.drift.score import score_window
from monitoring.drift.verdict import Verdict
from monitoring.rules import rules_of
from monitoring.state import TaskState
from router.sampling import Curve
from training.register import trust_rows

_NOON: Final = 1_750_000_000.0
_SECONDS: Final = 10.0  # between two exchanges
_REVIEW: Final = 25  # exchanges


@dataclass(slots=True)
class Raised:
    """An alarm, and the exchange with which it was raised."""

    cause: str
    at: int
    parts: tuple[str, ...]
    """Of drift: the parts of the window's test that called it."""
    what: str


@dataclass(slots=True)
class Story:
    """What happened while one scene was played."""

    name: str
    began: int
    """The exchange with which the shift began; for a scene without one, how many there were."""
    exchanges: int = 0
    raised: list[Raised] = field(default_factory=list)
    agrees: list[bool] = field(default_factory=list)
    """Of every exchange, whether the student agrees with the teacher."""
    windows: list[tuple[int, Verdict]] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)
    """Texts that the alarm about a new class showed."""

    def delay(self, cause: str, part: str = "") -> int | None:
        """Exchanges from the shift to the first alarm of this cause; None: there was none."""
        for one in self.raised:
            if one.cause == cause and one.at > self.began and (not part or part in one.parts):
                return one.at - self.began
        return None

    @property
    def early(self) -> list[Raised]:
        """Alarms before anything had changed."""
        return [one for one in self.raised if one.at <= self.began]

    def agreement(self, begin: int, end: int) -> float:
        """Student agreement between two exchanges, of all of them."""
        part = self.agrees[begin:end]
        return sum(part) / len(part) if part else float("nan")


class Desk:
    """One task under watch, through the product's state, reviewer and drift."""

    def __init__(self, world: World, folder: Path, name: str) -> None:
        self._world = world
        self._rules = rules_of(world.settings)
        self._ledger = Ledger(f"sqlite:///{folder}/{name}.db")
        self._ledger.migrate()
        self._reviewer = Reviewer(TASK, self._ledger, self._rules, world.settings.watch)
        self._curve = Curve(world.settings.shadow, world.settings.trust.min_confidence)
        self._rng = random.Random(name)
        self._state = TaskState(TASK)
        self._at = _NOON
        self._seen: set[str] = set()

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def play(self, taught: Taught, name: str, texts: list[str], began: int) -> Story:
        """Have a student asked all of these; the shift begins with the text at `began`."""
        world, story = self._world, Story(name, began)
        if taught.version not in self._ledger.trusted(TASK):
            self._ledger.set_trust(TASK, taught.version, trust_rows(TASK, taught.version, taught.verdicts))
        world.teacher.answer(texts)
        unique = list(dict.fromkeys(texts))
        answers = dict(zip(unique, zip(*probabilities_of(taught, unique), strict=True), strict=True))
        trusted = self._ledger.trusted(TASK)[taught.version]
        for number, text in enumerate(texts, 1):
            p, vector = answers[text]
            best = int(p.argmax())
            student = StudentAnswer(
                taught.version,
                world.labels.names[best],
                float(p[best]),
                world.labels.version,
                pack_floats(p.tolist()),
                vector.astype("<f2").tobytes(),
            )
            self._take(student, text, given=student.label in trusted)
            story.exchanges = number
            story.agrees.append(student.label == world.teacher.label(text))
            judged = self._judge(story)
            if judged or number % _REVIEW == 0:
                self._reviewer.review(self._state, self._at)
                trusted = self._ledger.trusted(TASK)[taught.version]
                self._note(story)
        return story

    def _take(self, student: StudentAnswer, text: str, *, given: bool) -> None:
        """An exchange, and its comparison where there is one."""
        world, self._at = self._world, self._at + _SECONDS
        given = given and student.confidence >= self._rules.min_confidence
        probability = self._curve(student.confidence) if given else 1.0
        drawn = self._rng.random() < probability
        answerer = Answerer.STUDENT if given else Answerer.TEACHER
        exchange = Exchange(
            mint(),
            TASK,
            self._at,
            answerer,
            Reason.CHAMPION if given else Reason.LOW_CONFIDENCE,
            200,
            version=student.version,
            text=text,
            label=student.label if given else world.teacher.label(text),
            student=student,
            shadow_probability=probability if given else 0.0,
            shadow=drawn and given,
        )
        if self._state.unknown_version(exchange) is not None:
            trust = self._ledger.trust(TASK, student.version)
            self._state.begin(student.version, self._rules, trust)
        self._state.observe_exchange(exchange, self._rules)
        if drawn:
            outcome = Outcome.ANSWERED if given else Outcome.CASCADED
            comparison = Comparison(
                mint("cmp"),
                TASK,
                exchange.id,
                self._at,
                self._at,
                outcome,
                probability,
                answerer,
                msgspec.structs.replace(student, vector=b""),
                teacher_label=world.teacher.label(text),
                cluster=cluster_id(text),
                text=text,
            )
            self._state.observe(comparison, self._rules)

    def _judge(self, story: Story) -> bool:
        """Judge a window that is full, as the reader's thread does."""
        drift, rules = self._state.drift, self._rules.drift
        if drift.full is None or drift.reference is None:
            return False
        window, drift.full = drift.full, None
        verdict = score_window(
            drift.reference,
            window,
            drift.season,
            list(drift.unsure),
            rules,
            seed=drift.opened,
            called=drift.drifted > 0,
        )
        drift.note(verdict, window, rules)
        story.windows.append((story.exchanges, verdict))
        return True

    def _note(self, story: Story) -> None:
        for alarm in self._ledger.alarms.newest(TASK):
            if alarm.id in self._seen:
                continue
            self._seen.add(alarm.id)
            parts = tuple(one["part"] for one in alarm.evidence.get("parts", []) if one["drift"])
            story.raised.append(Raised(alarm.cause, story.exchanges, parts, alarm.evidence.get("what", "")))
            if "clusters" in alarm.evidence:
                story.suspects += [example["text"] for example in alarm.evidence["examples"]]
