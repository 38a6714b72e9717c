"""The shadow worker, with a real Redis, a real student server, and a teacher that can be told how to behave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from core.archive import Archive, Row
from core.archive.columns import to_comparison
from core.archiver import Archiver
from core.ids import mint
from core.journal import Journal, stream_name
from core.labels import LabelSet, pack_floats, unpack_floats
from core.ledger import Ledger, Move
from core.locallog import LogWriter
from core.records import Answerer, Comparison, Exchange, Kind, Outcome, Reason, StudentAnswer, decode, encode
from core.settings import Settings, load_settings
from core.shipper import Shipper
from core.templates import compile_template
from router.shadow.memory import Memory
from router.shadow.serve import Shadow
from router.shadow.worker import GROUP
from server.app import StudentApp
from server.batching import Limits
from server.metrics import StudentMetrics
from server.versions import ALIASES, ServedTask, Versions
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server, free_port, module_process, wait_for, write_settings
from tests.support.students import CUES, LABELS, write_student

NOW = 1_750_000_000.0
SPREAD = pack_floats([0.9, 0.05, 0.05])
EXCHANGES = stream_name("desk", Kind.EXCHANGE)


def exchange(text: str = "where is it", **values: Any) -> Exchange:
    """An exchange that the student answered and that was drawn, unless told otherwise."""
    student = StudentAnswer("1", "order_status", 0.9, LabelSet(LABELS).version, SPREAD)
    given: dict[str, Any] = {
        "id": mint(),
        "task": "desk",
        "at": NOW,
        "answered_by": Answerer.STUDENT,
        "reason": Reason.CHAMPION,
        "status": 200,
        "text": text,
        "label": "order_status",
        "student": student,
        "shadow_probability": 0.25,
        "shadow": True,
    }
    return Exchange(**(given | values))


def cascaded(**values: Any) -> Exchange:
    """An exchange about which the gateway has asked the teacher."""
    given: dict[str, Any] = {
        "answered_by": Answerer.TEACHER,
        "reason": Reason.LOW_CONFIDENCE,
        "label": "praise",
        "shadow_probability": 0.0,
        "shadow": False,
    }
    return exchange(**(given | values))


@dataclass
class House:
    """Settings, the teacher, the exchanges' log, and what tests look at."""

    config: Path
    settings: Settings
    teacher: Teacher
    journal: Journal
    log: LogWriter
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def record(self, *exchanges: Exchange) -> None:
        for each in exchanges:
            assert self.log.append(encode(each))

    async def comparisons(self) -> list[Comparison]:
        """All that are in the journal."""
        entries = await self.journal.read(stream_name("desk", Kind.COMPARISON), count=10_000)
        found = [decode(payload) for entry in entries for _, payload in entry.frames()]
        return [record for record in found if isinstance(record, Comparison)]

    async def until_compared(self, count: int) -> list[Comparison]:
        async with asyncio.timeout(15):
            while len(found := await self.comparisons()) < count:  # noqa: ASYNC110 - Redis is asked, not told
                await asyncio.sleep(0.02)
        return found

    async def until_acknowledged(self) -> None:
        group = self.journal.group(EXCHANGES, GROUP, "a test")
        async with asyncio.timeout(15):
            while await group.pending():  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def shadowing(house: House, **options: Any) -> AsyncIterator[Shadow]:
    shadow = Shadow(house.settings, **options)
    await shadow.start()
    try:
        yield shadow
    finally:
        await shadow.stop(1.0)


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)


@pytest.fixture
def teacher() -> Iterator[tuple[Teacher, str]]:
    teacher = Teacher()
    with asgi_server(teacher) as url:
        yield teacher, url


@pytest.fixture
async def make_house(tmp_path, redis_url, student_url, teacher):
    """Build a house; sections given by name override its settings."""
    async with contextlib.AsyncExitStack() as stack:

        async def build(**task: Any) -> House:
            given = {
                "base_url": f"{teacher[1]}/v1",
                "model": "big-teacher",
                "data_may_leave": True,
                "input_price": 2.0,
                "output_price": 10.0,
                "timeouts": {"read": 0.3},
            } | task.pop("teacher", {})
            shadow = {"floor": 0.25, "attempts": 2, "repeat": 0.0} | task.pop("shadow", {})
            document = {
                "state": str(tmp_path / "state"),
                "student": {"url": task.pop("student_url", student_url)},
                "redis": {"url": redis_url},
                "shadow": {"port": free_port()},
                "tasks": {"desk": {"labels": list(LABELS), "teacher": given, "shadow": shadow} | task},
            }
            config = write_settings(tmp_path / "tutelage.yaml", document)
            settings = load_settings(config)
            journal = Journal.connect(redis_url)
            stack.push_async_callback(journal.close)
            log = LogWriter(settings.log_folder, mint("log"), 1 << 20, 1 << 30)
            stack.callback(log.close)
            shipping = asyncio.create_task(Shipper(settings.log_folder, journal).run())
            stack.push_async_callback(_cancel, shipping)
            return House(config, settings, teacher[0], journal, log)

        yield build


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_drawn_is_asked_about_once_and_what_was_cascaded_not_at_all(make_house, tmp_path):
    house = await make_house()
    house.teacher.logprobs = {"refund_status": -0.1, "praise": -3.0}
    drawn, passed = [exchange(f"where is number {n}", at=NOW + n) for n in range(20)], exchange(shadow=False)
    spread = pack_floats([0.25] * 4)
    asked_anyway, alone = cascaded(teacher_distribution=spread), cascaded(student=None)
    async with shadowing(house):
        house.record(*drawn, passed, asked_anyway, alone)
        found = {comparison.exchange: comparison for comparison in await house.until_compared(21)}
        await house.until_acknowledged()
        await asyncio.sleep(0.3)
        archived = await _archive(house, tmp_path)
    assert len(house.teacher.requests) == 20
    assert sorted(request["messages"][0]["content"] for request in house.teacher.requests) == sorted(
        each.text or "" for each in drawn
    )
    assert sorted(record.exchange for record in archived) == sorted(each.id for each in (*drawn, asked_anyway))
    for record in archived:
        made = found[record.exchange]
        assert record.compared_at == pytest.approx(made.compared_at, abs=1e-6)
        assert msgspec.structs.replace(record, compared_at=made.compared_at) == made, "every field comes back"

    one = found[drawn[3].id]
    assert (one.outcome, one.probability, one.served_by) == (Outcome.ANSWERED, 0.25, Answerer.STUDENT)
    assert (one.at, one.text, one.student) == (NOW + 3, drawn[3].text, drawn[3].student)
    assert one.teacher_label == "refund_status"
    assert one.agrees is False
    assert unpack_floats(one.teacher_distribution) == pytest.approx((0.0, 0.9048, 0.0498), abs=1e-3)
    assert one.cost_usd == pytest.approx((7 * 2.0 + 2 * 10.0) / 1e6)
    assert one.cluster == found[drawn[4].id].cluster != found[asked_anyway.id].cluster, "they differ in a number only"
    assert one.challenger is None

    other = found[asked_anyway.id]
    assert other.teacher_distribution == spread, "what the teacher said to a client anyway"
    assert (other.outcome, other.probability, other.served_by) == (Outcome.CASCADED, 1.0, Answerer.TEACHER)
    assert (other.teacher_label, other.agrees, other.cost_usd) == ("praise", False, 0.0)


async def _archive(house: House, tmp_path: Path) -> list[Comparison]:
    """Archive what is in the journal, and read the comparisons back."""
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    archive = Archive(str(tmp_path / "archive"), ledger)
    archiver = Archiver(house.journal, archive, ledger, flush_seconds=0.1)
    archiving = asyncio.create_task(archiver.run())
    assert await archiver.drain(10)
    await _cancel(archiving)
    rows = archive.comparisons("desk", since=NOW - 1).to_pylist()
    ledger.close()
    return [to_comparison(row) for row in rows]


@pytest.mark.parametrize(
    ("behaviour", "outcome", "error", "calls"),
    [
        ("error", Outcome.REFUSED, "429 too fast", 2),
        ("hang", Outcome.TIMED_OUT, "failed 2 times", 2),
        ("rubbish", Outcome.UNREADABLE, "not with a chat completion", 1),
        ("no_credit", Outcome.OVER_BUDGET, "no credit", 1),
    ],
)
async def test_a_teacher_that_fails_leaves_an_outcome(make_house, behaviour, outcome, error, calls):
    house = await make_house()
    house.teacher.behaviour = behaviour
    async with shadowing(house):
        house.record(exchange())
        (comparison,) = await house.until_compared(1)
        await house.until_acknowledged()
    assert comparison.outcome is outcome
    assert error in comparison.error
    assert comparison.teacher_label is None
    assert comparison.agrees is None
    assert len(house.teacher.requests) == calls


async def test_an_answer_that_is_no_label_is_kept_as_such(make_house):
    house = await make_house()
    house.teacher.label = "who knows"
    async with shadowing(house):
        house.record(exchange())
        (comparison,) = await house.until_compared(1)
    assert comparison.outcome is Outcome.UNREADABLE
    assert comparison.cost_usd > 0, "it is paid for all the same"


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ({"label": None, "output": "who knows"}, Outcome.UNREADABLE),
        ({"complete": False, "error": "the client went away"}, Outcome.REFUSED),
        ({"answered_by": Answerer.NOBODY, "status": 429, "label": None}, Outcome.REFUSED),
        ({"answered_by": Answerer.NOBODY, "status": 504, "label": None}, Outcome.TIMED_OUT),
        ({"text": None}, Outcome.CASCADED),
    ],
)
async def test_a_cascade_that_came_to_nothing_is_known_to_be_missing(make_house, values, outcome):
    house = await make_house()
    async with shadowing(house):
        house.record(cascaded(**values))
        (comparison,) = await house.until_compared(1)
    assert (comparison.outcome, comparison.probability) == (outcome, 1.0)
    assert (comparison.teacher_label is None) is (outcome is not Outcome.CASCADED)
    assert not house.teacher.requests


async def test_a_killed_workers_exchanges_are_claimed_and_none_is_lost(make_house, tmp_path):
    house = await make_house(teacher={"timeouts": {"read": 30.0}})
    before, stuck = [exchange() for _ in range(3)], [exchange() for _ in range(6)]
    log = tmp_path / "shadow.log"
    with module_process("router.shadow.serve", "--config", str(house.config), log=log) as process:
        house.record(*before)
        await house.until_compared(3)
        house.teacher.behaviour = "hang"
        house.record(*stuck)
        await until(lambda: len(house.teacher.requests) >= 3 + 4)
        process.kill()
        process.wait()
    house.teacher.behaviour = "answer"
    asked = len(house.teacher.requests)
    async with shadowing(house, claim_seconds=0.3):
        found = await house.until_compared(9)
        await house.until_acknowledged()
        await asyncio.sleep(0.5)
        found = await house.comparisons()
    assert sorted(comparison.exchange for comparison in found) == sorted(each.id for each in (*before, *stuck))
    assert len(house.teacher.requests) - asked == 6, "what the dead worker had compared is not asked again"


async def test_a_slow_worker_that_lives_is_not_robbed(make_house):
    house = await make_house(teacher={"timeouts": {"read": 30.0}})
    house.teacher.behaviour = "hang"
    async with shadowing(house, claim_seconds=0.4), shadowing(house, claim_seconds=0.4):
        house.record(exchange())
        await until(lambda: house.teacher.requests)
        await asyncio.sleep(1.2)
        assert len(house.teacher.requests) == 1


async def test_workers_share_the_work(make_house):
    house = await make_house()
    drawn = [exchange() for _ in range(60)]
    async with shadowing(house) as one, shadowing(house) as two:
        for each in drawn:
            house.record(each)
            await asyncio.sleep(0.01)
        found = await house.until_compared(60)
        counts = [_metric(shadow, "tutelage_shadow_comparisons_total") for shadow in (one, two)]
    assert sorted(comparison.exchange for comparison in found) == sorted(each.id for each in drawn)
    assert len(house.teacher.requests) == 60
    assert sum(counts) == 60
    assert min(counts) > 0


async def test_an_emptied_redis_loses_no_drawn_exchange_and_asks_about_none_twice(make_house, redis_url):
    house = await make_house()
    first, second = [exchange() for _ in range(5)], [exchange() for _ in range(5)]
    async with shadowing(house), Redis.from_url(redis_url) as redis:
        house.record(*first)
        await house.until_compared(5)
        await house.until_acknowledged()
        await redis.flushall()
        house.record(*second)
        found = await house.until_compared(10)
        await house.until_acknowledged()
    assert {comparison.exchange for comparison in found} == {each.id for each in (*first, *second)}
    assert len(house.teacher.requests) == 10


async def test_what_the_journal_lost_is_found_in_the_archive_and_compared_once(make_house):
    house = await make_house()
    before = time.time() - 3600
    lost, passed = [exchange(f"where is {n}", at=before + n) for n in range(3)], exchange(at=before, shadow=False)
    cascade, young, old = cascaded(at=before), exchange(at=time.time()), exchange(at=before - 86_400)
    compared = exchange("where was it", at=before)
    comparison = Comparison(
        mint("cmp"), "desk", compared.id, before, before + 1, Outcome.ANSWERED, 0.25, Answerer.STUDENT, compared.student
    )
    ledger = Ledger(house.settings.ledger_url)
    ledger.migrate()
    archive = Archive(house.settings.archive_url, ledger)
    for stream, records in (
        (EXCHANGES, [*lost, passed, cascade, young, old, compared]),
        (stream_name("desk", Kind.COMPARISON), [comparison]),
    ):
        rows = [Row("log_gone", number, record) for number, record in enumerate(records, 1)]
        assert archive.append(stream, rows, [Move(stream, "log_gone", 0, len(rows))], 100)
    async with shadowing(house) as shadow, shadowing(house) as other:
        assert await shadow.sweeps[0].sweep() == 4
        found = await house.until_compared(4)
        await until(lambda: _metric(shadow, "tutelage_shadow_swept_total") == 4)
        assert await shadow.sweeps[0].sweep() == 0
        await asyncio.sleep(0.3)
        assert await other.sweeps[0].sweep() == 0, "it has seen them in the journal"
    ledger.close()
    assert {record.exchange for record in found} == {each.id for each in (*lost, cascade)}
    assert len(house.teacher.requests) == 3


async def test_a_challenger_answers_too(make_house, tmp_path):
    swapped = dict(zip(CUES, reversed(CUES.values()), strict=True))
    with asgi_server(_Students(tmp_path, CUES, swapped)) as url:
        house = await make_house(student_url=url)
        async with shadowing(house) as shadow:
            house.record(exchange("where is it"), cascaded(text="great, thanks"), cascaded(text=None))
            found = await house.until_compared(3)
            assert _metric(shadow, "tutelage_shadow_challenged_total") == 2
    by_text = {comparison.text: comparison.challenger for comparison in found}
    challenger = by_text["where is it"]
    assert challenger is not None
    assert (challenger.version, challenger.label) == ("v1", "praise")
    assert by_text["great, thanks"].label == "order_status"
    assert by_text[None] is None


class _Students:
    """A student server in this process, with a champion and a challenger."""

    def __init__(self, folder: Path, *cues: Any) -> None:
        self._folders = [write_student(folder / f"student{n}", "desk", each) for n, each in enumerate(cues)]
        metrics = StudentMetrics()
        self._versions = Versions(
            [ServedTask("desk", (compile_template("default", [("user", "{text}")]),))], Limits(), metrics
        )
        self._app = StudentApp(self._versions, metrics, 1 << 20)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        for number, (alias, folder) in enumerate(zip(ALIASES, self._folders, strict=True)):
            await self._versions.install("desk", alias, f"v{number}", folder)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._versions.close()
        await send({"type": "lifespan.shutdown.complete"})


async def test_the_teacher_reads_the_template_in_which_the_text_came(make_house):
    messages = [{"role": "system", "content": "Classify."}, {"role": "user", "content": "Message: {text}"}]
    house = await make_house(templates=[{"messages": messages}])
    (template,) = house.settings.task("desk").compiled_templates()
    async with shadowing(house):
        house.record(exchange("where is it", template=template.version))
        await house.until_compared(1)
    assert house.teacher.requests[0]["messages"] == [
        {"role": "system", "content": "Classify."},
        {"role": "user", "content": "Message: where is it"},
    ]


async def test_what_the_day_may_cost_is_spent_and_no_more(make_house):
    house = await make_house(shadow={"dollars_per_day": 0.00005, "max_concurrency": 1})
    async with shadowing(house):
        house.record(*(exchange() for _ in range(4)))
        found = await house.until_compared(4)
    assert sorted(comparison.outcome for comparison in found) == ["answered", "answered", "over_budget", "over_budget"]
    async with shadowing(house):
        house.record(exchange())
        found = await house.until_compared(5)
    assert found[-1].outcome is Outcome.OVER_BUDGET, "a restart knows what was spent"
    assert "dollars_per_day" in found[-1].error


async def test_a_few_are_asked_about_twice_and_it_is_known_which(make_house, tmp_path):
    house = await make_house(shadow={"repeat": 0.5})
    drawn = [exchange(f"where is number {n}") for n in range(40)]
    async with shadowing(house) as shadow:
        house.record(*drawn, *(cascaded(text=f"thanks {n}") for n in range(20)))
        found = await house.until_compared(60)
        counted = _metric(shadow, "tutelage_shadow_repeats_total")
        archived = await _archive(house, tmp_path)
    again = [comparison for comparison in found if comparison.again is not None]
    assert 15 <= len(again) <= 45
    assert len(again) == counted == len(house.teacher.requests) - 40
    assert {comparison.outcome for comparison in again} == {Outcome.ANSWERED, Outcome.CASCADED}
    for comparison in again:
        assert (comparison.again, comparison.teacher_again) == (Outcome.ANSWERED, "refund_status")
        assert comparison.again_probability == 0.5
        one_call = (7 * 2.0 + 2 * 10.0) / 1e6
        calls = 2 if comparison.outcome is Outcome.ANSWERED else 1
        assert comparison.cost_usd == pytest.approx(calls * one_call), "both calls are paid for"
    seeds = [request["seed"] for request in house.teacher.requests if "seed" in request]
    assert len(set(seeds)) == len(again), "a cache would know none of them"
    kept = {record.exchange: record for record in archived}
    assert {name: (one.again, one.teacher_again, one.again_probability) for name, one in kept.items()} == {
        one.exchange: (one.again, one.teacher_again, one.again_probability) for one in found
    }


async def test_the_second_question_is_asked_within_the_day_and_only_of_what_was_answered(make_house):
    house = await make_house(shadow={"repeat": 1.0, "dollars_per_day": 0.00005, "max_concurrency": 1})
    async with shadowing(house):
        house.record(exchange())
        await house.until_compared(1)
        house.record(exchange(), cascaded(), cascaded(label=None, output="who knows"), cascaded(redacted=True))
        found = await house.until_compared(5)
    assert [one.again for one in found if one.outcome is Outcome.ANSWERED] == [Outcome.ANSWERED]
    (over,) = [one for one in found if one.outcome is Outcome.OVER_BUDGET]
    assert over.again is None, "there is nothing to hold a second answer against"
    kept_apart = [one for one in found if one.outcome is Outcome.CASCADED]
    assert {(one.redacted, one.again) for one in kept_apart} == {(False, Outcome.OVER_BUDGET), (True, None)}
    assert [one.again for one in found if one.outcome is Outcome.UNREADABLE] == [None]


async def test_what_the_settings_forbid_now_is_not_asked(make_house):
    house = await make_house(teacher={"data_may_leave": False}, shadow={"floor": 0.0})
    async with shadowing(house):
        house.record(exchange())
        (comparison,) = await house.until_compared(1)
    assert comparison.outcome is Outcome.REFUSED
    assert not house.teacher.requests


async def test_nothing_is_compared_on_what_was_redacted(make_house, tmp_path):
    with asgi_server(_Students(tmp_path, CUES, CUES)) as url:
        house = await make_house(student_url=url)
        async with shadowing(house):
            house.record(exchange("I am [email]", redacted=True), cascaded(text="ask [email]", redacted=True))
            found = {one.text: one for one in await house.until_compared(2)}
    drawn, asked_anyway = found["I am [email]"], found["ask [email]"]
    assert (drawn.outcome, drawn.teacher_label) == (Outcome.REFUSED, None)
    assert "redacted" in drawn.error
    assert asked_anyway.outcome is Outcome.CASCADED
    assert asked_anyway.redacted
    assert drawn.challenger is asked_anyway.challenger is None
    assert not house.teacher.requests


async def test_a_teacher_without_room_is_left_alone(make_house):
    house = await make_house(shadow={"attempts": 3})
    house.teacher.behaviour = "error"
    async with shadowing(house) as shadow:
        house.record(*(exchange() for _ in range(30)))
        await until(lambda: house.teacher.requests)
        await asyncio.sleep(0.2)
        assert len(house.teacher.requests) <= 4, "those that were under way, and then nobody"
        house.teacher.behaviour = "answer"
        found = await house.until_compared(30)
        assert _metric(shadow, "tutelage_shadow_pauses") > 0
    assert {comparison.outcome for comparison in found} == {Outcome.ANSWERED}


async def test_the_role_shows_its_health_and_ends_what_it_began(make_house, tmp_path):
    house = await make_house()
    log = tmp_path / "shadow.log"
    with module_process("router.shadow.serve", "--config", str(house.config), log=log) as process:
        url = f"http://127.0.0.1:{house.settings.shadow.port}"
        await asyncio.to_thread(wait_for, f"{url}/healthz", process=process)
        house.record(exchange(), cascaded())
        await house.until_compared(2)
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"{url}/metrics")).text
            assert (await client.get(f"{url}/nowhere")).status_code == 404
        os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 15) == 0, log.read_text()
    assert 'tutelage_shadow_comparisons_total{outcome="answered",task="desk"} 1.0' in metrics
    assert 'tutelage_shadow_comparisons_total{outcome="cascaded",task="desk"} 1.0' in metrics
    consumers = await house.journal._redis.xinfo_consumers(EXCHANGES, GROUP)
    assert consumers == [], "it takes its name off the list"


async def test_a_port_that_is_taken_is_told_in_one_line(make_house, tmp_path):
    house = await make_house()
    log = tmp_path / "shadow.log"
    flags = ("router.shadow.serve", "--config", str(house.config))
    with module_process(*flags) as first:
        await asyncio.to_thread(wait_for, f"http://127.0.0.1:{house.settings.shadow.port}/healthz", process=first)
        with module_process(*flags, log=log) as second:
            assert await asyncio.to_thread(second.wait, 20) == 1
    assert "choose another with shadow.port" in log.read_text()


async def test_the_memory_is_bounded_and_counts_the_day(redis_url):
    journal = Journal.connect(redis_url)
    memory = Memory("desk", journal, capacity=3)
    student = StudentAnswer("1", "praise", 0.5, "abc")
    made = [
        Comparison(
            mint("cmp"), "desk", f"ex_{n}", NOW, at, Outcome.ANSWERED, 1.0, Answerer.STUDENT, student, cost_usd=1.0
        )
        for n, at in enumerate([NOW, NOW + 1, time.time(), time.time(), time.time()])
    ]
    for comparison in (*made, made[-1]):
        memory.add(comparison)
    assert [f"ex_{n}" in memory for n in range(5)] == [False, False, True, True, True]
    assert memory.spent_today == 3.0
    await journal.close()


def _metric(shadow: Shadow, name: str) -> float:
    lines = shadow.metrics.render().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{"))
