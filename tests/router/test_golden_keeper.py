"""The golden set, asked again and again, with a real Redis, a real ledger and a teacher that can be told to change."""

from __future__ import annotations

import asyncio
import contextlib
import csv
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from core.asking import Asker, open_client
from core.budget import Budget
from core.errors import DataError, SettingsError
from core.ids import mint
from core.journal import Journal, stream_name
from core.labels import LabelSet
from core.lease import Leases
from core.ledger import GoldenExample, GoldenSet, Ledger
from core.prices import Price
from core.records import Answerer, Comparison, Kind, Outcome, StudentAnswer, encode
from core.settings import TaskSettings, load_settings
from router.shadow.golden import GoldenKeeper
from router.shadow.golden_texts import TrafficTexts, digest_of_teacher, digest_of_texts, read_golden
from router.shadow.metrics import ShadowMetrics
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server, write_settings

LABELS = ["order_status", "refund_status", "praise"]
NOON = 1_750_000_000.0
DAY = 86_400.0
PRICE = Price(2.0, 10.0, "a test")
ONE_CALL = (7 * 2.0 + 2 * 10.0) / 1e6


@dataclass
class House:
    """One task, its stores, and a clock that tests set."""

    settings: TaskSettings
    teacher: Teacher
    ledger: Ledger
    journal: Journal
    stack: contextlib.AsyncExitStack
    redis_url: str
    now: float = NOON

    async def keeper(self, texts: list[GoldenExample] | None = None, owner: str = "one") -> GoldenKeeper:
        """A worker of its own, as another process would have."""
        task = self.settings
        client = await self.stack.enter_async_context(open_client(task.teacher))
        leases = Leases(self.redis_url, 5.0)
        self.stack.push_async_callback(leases.close)

        def asker(budget: Budget) -> Asker:
            return Asker(client, task.label_set(), task.teacher, PRICE, budget, attempts=1)

        return GoldenKeeper(
            "desk",
            task,
            asker,
            TrafficTexts("desk", self.journal, task.watch.golden_size) if texts is None else texts,
            self.ledger,
            leases,
            ShadowMetrics(),
            owner,
            clock=lambda: self.now,
        )

    async def compare(self, *texts: str, **values: Any) -> list[str]:
        """Put comparisons of these texts into the journal."""
        student = StudentAnswer("1", "praise", 0.9, LabelSet(LABELS).version)
        names = [mint() for _ in texts]
        given: dict[str, Any] = {
            "task": "desk",
            "at": self.now,
            "compared_at": self.now,
            "outcome": Outcome.ANSWERED,
            "probability": 0.1,
            "served_by": Answerer.STUDENT,
            "student": student,
            "teacher_label": "praise",
        }
        records = [
            Comparison(id=mint("cmp"), exchange=name, text=text, cluster=text, **(given | values))
            for name, text in zip(names, texts, strict=True)
        ]
        frames = [(10 * (at + 1), encode(record)) for at, record in enumerate(records)]
        source = mint("log")
        await self.journal.ship(source, None, frames[-1][0], {stream_name("desk", Kind.COMPARISON): frames})
        return names

    def rounds(self):
        current = self.ledger.golden.newest("desk")
        return [] if current is None else self.ledger.golden.rounds("desk", current.number)


@pytest.fixture
def teacher() -> Iterator[tuple[Teacher, str]]:
    teacher = Teacher()
    with asgi_server(teacher) as url:
        yield teacher, url


@pytest.fixture
async def make_house(tmp_path, redis_url, teacher) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:
        ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
        ledger.migrate()
        stack.callback(ledger.close)
        journal = Journal.connect(redis_url)
        stack.push_async_callback(journal.close)

        def build(**watch: Any) -> House:
            settings = TaskSettings.model_validate(
                {
                    "labels": LABELS,
                    "teacher": {
                        "base_url": f"{teacher[1]}/v1",
                        "model": "big",
                        "data_may_leave": True,
                        "timeouts": {"read": 0.5},
                    },
                    "watch": {"golden_size": 20} | watch,
                }
            )
            return House(settings, teacher[0], ledger, journal, stack, redis_url)

        yield build


def texts(count: int) -> list[GoldenExample]:
    return [GoldenExample(n, f"text {n}", "praise" if n % 2 else "") for n in range(count)]


async def test_it_asks_every_day_and_the_answers_stand_in_the_ledger(make_house):
    house = make_house()
    keeper = await house.keeper(texts(10))
    for _ in range(3):
        await keeper.look()
    assert len(house.teacher.requests) == 10, "once a day"
    house.now += DAY
    house.teacher.label = "praise"
    await keeper.look()
    first, second = house.rounds()
    assert set(first.answers.values()) == {"refund_status"}
    assert set(second.answers.values()) == {"praise"}
    assert first.cost_usd == pytest.approx(10 * ONE_CALL)
    assert house.ledger.golden.newest("desk").source == "files"
    asked = {(request["messages"][-1]["content"], request["seed"]) for request in house.teacher.requests}
    assert len(asked) == 20, "no cache can answer in the teacher's stead"


async def test_without_files_the_first_comparisons_are_frozen(make_house):
    house = make_house()
    keeper = await house.keeper()
    await house.compare(*(f"text {n}" for n in range(15)))
    await house.compare("text 3", "text 4")
    await house.compare("not readable", teacher_label=None, outcome=Outcome.UNREADABLE)
    await house.compare("I am [email]", redacted=True)
    await keeper.look()
    assert house.rounds() == [], "too few yet"
    names = await house.compare(*(f"more {n}" for n in range(10)))
    house.ledger.forgotten.add(exchanges=names[:1], at=house.now)
    await keeper.look()
    current = house.ledger.golden.newest("desk")
    frozen = house.ledger.golden.examples("desk", current.number)
    assert [one.text for one in frozen] == [f"text {n}" for n in range(15)] + [f"more {n}" for n in range(1, 5)]
    assert [one.number for one in frozen] == list(range(19))
    assert current.source == "traffic"
    assert len(house.rounds()) == 1


async def test_few_comparisons_are_enough_after_some_days(make_house):
    house = make_house(golden_size=200)
    keeper = await house.keeper()
    await house.compare(*(f"text {n}" for n in range(60)))
    await keeper.look()
    assert house.ledger.golden.newest("desk") is None
    house.now += 3 * DAY
    await keeper.look()
    assert len(house.rounds()[0].answers) == 60


async def test_two_workers_ask_once(make_house):
    house = make_house()
    one, two = await house.keeper(texts(8), "one"), await house.keeper(texts(8), "two")
    await asyncio.gather(one.look(), two.look())
    await two.look()
    assert len(house.teacher.requests) == 8


async def test_another_worker_goes_on_where_one_was_killed(make_house):
    house = make_house()
    same = GoldenSet("desk", 1, "files", digest_of_teacher(house.settings), digest_of_texts(texts(8)), NOON)
    house.ledger.golden.freeze(same, texts(8))
    begun = house.ledger.golden.begin_round("desk", 1, "dead", house.now)
    house.ledger.golden.save_round(replace(begun, answers=dict.fromkeys(range(5), "praise"), cost_usd=0.1))
    await (await house.keeper(texts(8), "alive")).look()
    assert len(house.teacher.requests) == 3
    (only,) = house.rounds()
    assert len(only.answers) == 8
    assert only.cost_usd == pytest.approx(0.1 + 3 * ONE_CALL)


async def test_a_teacher_that_fails_is_left_alone_and_asked_again(make_house):
    house = make_house()
    keeper = await house.keeper(texts(12))
    house.teacher.behaviour = "error"
    await keeper.look()
    tried = len(house.teacher.requests)
    assert tried <= 4, "the first few tell"
    await keeper.look()
    assert len(house.teacher.requests) == tried
    house.teacher.behaviour = "answer"
    house.now += 700
    await keeper.look()
    assert len(house.rounds()[0].answers) == 12


async def test_a_round_that_cannot_be_completed_counts_as_it_is(make_house):
    house = make_house()
    keeper = await house.keeper(texts(4))
    house.teacher.behaviour = "error"
    await keeper.look()
    assert house.rounds() == []
    house.now += DAY / 3
    await keeper.look()
    (only,) = house.rounds()
    assert only.answers == {}


async def test_dollars_are_kept(make_house):
    house = make_house(golden_dollars=0.001)
    keeper = await house.keeper(texts(40))
    await keeper.look()
    (only,) = house.rounds()
    assert 0 < len(only.answers) < 40
    assert only.cost_usd <= 0.001
    house.now += DAY
    await keeper.look()
    assert set(house.rounds()[1].answers) == set(only.answers), "the same ones every time"


async def test_an_answer_that_is_no_label_is_an_answer(make_house):
    house = make_house()
    house.teacher.label = "as a language model"
    await (await house.keeper(texts(3))).look()
    assert house.rounds()[0].answers == {0: "", 1: "", 2: ""}


async def test_another_teacher_is_another_set(make_house):
    house = make_house()
    await (await house.keeper(texts(5))).look()
    teacher = house.settings.teacher.model_copy(update={"model": "bigger"})
    house.settings = house.settings.model_copy(update={"teacher": teacher})
    await (await house.keeper(texts(5))).look()
    assert house.ledger.golden.newest("desk").number == 2
    assert len(house.rounds()) == 1


async def test_a_set_that_was_mostly_forgotten_is_made_anew(make_house):
    house = make_house()
    keeper = await house.keeper()
    names = set(await house.compare(*(f"text {n}" for n in range(20))))
    await keeper.look()
    house.ledger.golden.drop_examples(lambda exchange: exchange in names)
    await house.compare(*(f"new {n}" for n in range(20)))
    await keeper.look()
    assert house.ledger.golden.newest("desk").number == 2


def write(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_files_are_read_with_or_without_labels(tmp_path):
    plain = write(tmp_path / "plain.csv", ("text",), ("a",), ("b",))
    labelled = write(tmp_path / "labelled.csv", ("text", "label"), ("b", "praise"), ("c", "praise"), ("d", ""))
    found = read_golden([plain, labelled], LabelSet(LABELS), 3)
    assert [(one.number, one.text, one.label) for one in found] == [(0, "a", ""), (1, "b", ""), (2, "c", "praise")]
    wrong = write(tmp_path / "wrong.csv", ("text", "label"), ("a", "prase"))
    with pytest.raises(DataError, match="did you mean 'praise'"):
        read_golden([wrong], LabelSet(LABELS), 3)


def test_who_is_asked_and_how_makes_the_teacher(make_house):
    task = make_house().settings
    other = task.model_copy(update={"teacher": task.teacher.model_copy(update={"instructions": "Be strict."})})
    assert digest_of_teacher(task) != digest_of_teacher(other)
    assert digest_of_teacher(task) == digest_of_teacher(task.model_copy(update={"aliases": ["x"]}))


@pytest.mark.parametrize(
    ("teacher", "privacy", "watch", "hint"),
    [
        ({}, {}, {"golden_hours": 12}, "teacher.data_may_leave is false"),
        ({"data_may_leave": True}, {"store": "none"}, {"golden_hours": 12}, "privacy.store is 'none'"),
    ],
)
def test_what_is_not_permitted_is_refused(tmp_path, teacher, privacy, watch, hint):
    document = {
        "tasks": {
            "desk": {
                "labels": LABELS,
                "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "big"} | teacher,
                "privacy": privacy,
                "watch": watch,
            }
        }
    }
    with pytest.raises(SettingsError, match=hint):
        load_settings(write_settings(tmp_path / "tutelage.yaml", document))


def test_files_need_no_stored_texts_and_are_found_beside_the_settings(tmp_path):
    document = {
        "tasks": {
            "desk": {
                "labels": LABELS,
                "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "big", "data_may_leave": True},
                "privacy": {"store": "none"},
                "watch": {"golden": ["golden.csv"]},
            }
        }
    }
    task = load_settings(write_settings(tmp_path / "tutelage.yaml", document)).task("desk")
    assert task.asks_golden
    assert task.watch.golden == [tmp_path / "golden.csv"]
