"""A task whose traffic has changed: a champion that was taught the first words, and an archive full of second ones.

Built once a session (`build`), copied for each test (`World`): real registry, ledger, archive and students.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from core.archive import Archive, Row
from core.clusters import cluster_id
from core.ids import mint, minted_at
from core.labels import pack_floats
from core.ledger import Alarm, Ledger, Move, Severity
from core.models.folder import Student, load_student
from core.records import Answerer, Comparison, Exchange, Kind, Outcome, Reason, StudentAnswer
from core.registry import Registry
from core.settings import Settings, load_settings
from tests.support import desk
from tests.support.processes import write_settings
from training.examples import write_examples
from training.runs import RunContext
from training.workflow import labels_file, make_student

SECOND_WORDS = {
    "order": ("locker", "driver", "doorstep", "pickup", "depot", "van"),
    "refund": ("voucher", "overpaid", "cashback", "statement", "fee", "card"),
    "praise": ("superb", "delighted", "perfect", "friendly", "smooth", "kudos"),
}
FREE = {"input_price": 0, "output_price": 0}
DAY = 86_400.0


def second_wave(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """`(text, intent)` pairs in words that the champion has never seen."""
    rng = random.Random(seed)
    pairs = []
    for at in range(count):
        intent = list(SECOND_WORDS)[at % 3]
        words = rng.sample(SECOND_WORDS[intent], 2) + rng.sample(desk._AROUND, 5)
        rng.shuffle(words)
        pairs.append((" ".join(words), intent))
    return pairs


def config(folder: Path, teacher_url: str = "http://127.0.0.1:9/v1", **retrain: Any) -> Path:
    quick = {"trial_comparisons": 60, "trial_minimum": 40, "canary_requests": 0}
    given = quick | {"label_budget": 0, "cooldown_minutes": 0, "recent_texts": 0}
    document = {
        "state": str(folder / "state"),
        "tasks": {
            "desk": {
                "labels": list(desk.INTENTS),
                "teacher": {"base_url": teacher_url, "model": "t", "may_train": True, "data_may_leave": True} | FREE,
                "distil": {"epochs": 8},
                "retrain": given | retrain,
            }
        },
    }
    return write_settings(folder / "tutelage.yaml", document)


def build(folder: Path) -> Path:
    """The state in `folder`: champion 1, old and recent comparisons, recent exchanges that nobody labelled."""
    settings = load_settings(config(folder))
    examples = desk.labelled(600)
    write_examples(labels_file(settings, "desk"), examples)
    run = make_student(settings, "desk", examples)
    with World.opened(folder) as world:
        student = load_student(run.result.folder)
        start = time.time() - 3 * DAY
        world.compare(desk.messages(200, seed=5), student, start=start)
        world.compare(second_wave(300, seed=6), student, start=minted_at(mint()))
        world.exchange(second_wave(120, seed=7), student)
    return folder


@dataclass
class World:
    folder: Path
    settings: Settings
    ledger: Ledger
    registry: Registry
    archive: Archive

    @staticmethod
    def opened(folder: Path, teacher_url: str = "http://127.0.0.1:9/v1", **retrain: Any) -> World:
        settings = load_settings(config(folder, teacher_url, **retrain))
        ledger = Ledger(settings.ledger_url)
        ledger.migrate()
        registry = Registry(settings.registry_url, settings.state / "artifacts")
        return World(folder, settings, ledger, registry, Archive(settings.archive_url, ledger))

    @staticmethod
    def copied(built: Path, folder: Path, teacher_url: str = "http://127.0.0.1:9/v1", **retrain: Any) -> World:
        shutil.copytree(built / "state", folder / "state")
        return World.opened(folder, teacher_url, **retrain)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()

    def context(self, **changes: Any) -> RunContext:
        return RunContext(self.settings, self.ledger, self.registry, self.archive, **changes)

    def alarm(self, *labels: str, version: str = "1") -> Alarm:
        """An open alarm; what is recent begins with the first archived exchange of the second wave."""
        (row,) = self.archive.query(
            'SELECT min(epoch("at")) AS first FROM records WHERE epoch("at") > ?',
            "desk",
            Kind.COMPARISON,
            [time.time() - 2 * DAY],
        ).to_pylist()
        now = time.time()
        found = Alarm(
            id=mint("alarm"),
            task="desk",
            version=version,
            signal="student_agreement",
            cause="student agreement fell",
            severity=Severity.WARNING,
            opened=now,
            updated=now,
            cooldown=now,
            retrain=True,
            labels=labels,
            evidence={},
            first_exchange=minted_exchange(row["first"]),
        )
        return self.ledger.alarms.raise_alarm(found)

    def compare(
        self,
        pairs: Sequence[tuple[str, str]],
        student: Student,
        *,
        start: float,
        challenger: Student | None = None,
        challenger_version: str = "2",
        version: str = "1",
    ) -> None:
        """Archive comparisons of these texts; the teacher is right, and sure of it."""
        labels = self.settings.task("desk").label_set()
        sure = {name: pack_floats([0.9 if other == name else 0.05 for other in labels.names]) for name in labels.names}
        answers = _answers(student, version, [text for text, _ in pairs])
        others: Sequence[StudentAnswer | None] = [None] * len(pairs)
        if challenger is not None:
            others = _answers(challenger, challenger_version, [text for text, _ in pairs])
        records = [
            Comparison(
                id=mint("cmp"),
                task="desk",
                exchange=mint(),
                at=start + place / 1000,
                compared_at=start + place / 1000 + 0.5,
                outcome=Outcome.CASCADED if place % 3 == 0 else Outcome.ANSWERED,
                probability=1.0 if place % 3 == 0 else 0.25,
                served_by=Answerer.TEACHER if place % 3 == 0 else Answerer.STUDENT,
                student=answer,
                teacher_label=intent,
                teacher_distribution=sure[intent],
                cluster=cluster_id(text),
                text=text,
                cost_usd=0.001,
                challenger=other,
            )
            for place, ((text, intent), answer, other) in enumerate(zip(pairs, answers, others, strict=True))
        ]
        self._append("tutelage:desk:comparisons", records)

    def exchange(self, pairs: Sequence[tuple[str, str]], student: Student) -> None:
        """Archive exchanges that the student answered and nobody compared."""
        now = time.time()
        answers = _answers(student, "1", [text for text, _ in pairs])
        records = [
            Exchange(
                mint(),
                "desk",
                now + place / 1000,
                Answerer.STUDENT,
                Reason.CHAMPION,
                200,
                text=text,
                label=answer.label,
                student=answer,
            )
            for place, ((text, _), answer) in enumerate(zip(pairs, answers, strict=True))
        ]
        self._append("tutelage:desk:exchanges", records)

    def _append(self, stream: str, records: Sequence[Comparison | Exchange]) -> None:
        source = mint("log")
        rows = [Row(source, place + 1, record) for place, record in enumerate(records)]
        assert self.archive.append(stream, rows, [Move(stream, source, 0, len(rows))], 100_000)


def _answers(student: Student, version: str, texts: Sequence[str]) -> list[StudentAnswer]:
    spread = student.predict(texts).probabilities
    return [
        StudentAnswer(version, student.labels.names[row.argmax()], float(row.max()), student.labels.version)
        for row in spread
    ]


def minted_exchange(at: float) -> str:
    """An exchange's id as it would have been minted at that time."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    value = int(at * 1000)
    digits = "".join(alphabet[(value >> shift) & 31] for shift in range(45, -1, -5))
    return f"ex_{digits}{'0' * 16}"
