"""What is counted is shown: by one process, by several, and when some of them die."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from core.errors import UnavailableError
from core.journal import Journal
from core.records import Answerer, Exchange, Reason, Usage
from core.settings import load_settings
from core.shipper import Shipper
from router.app import Gateway
from router.metrics import Metrics, MetricsHub, Report, Reporter, merge, render
from router.metrics.parent import ParentMetrics
from router.metrics.tally import SECONDS
from tests.support.processes import write_settings


def shown(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every line of an exposition."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(text: bytes, name: str, **labels: str) -> float | None:
    return shown(text).get((f"tutelage_gateway_{name}", frozenset(labels.items())))


def total(text: bytes, name: str) -> float:
    return sum(number for (found, _), number in shown(text).items() if found == f"tutelage_gateway_{name}")


def test_an_exchange_is_counted_in_every_series():
    metrics = Metrics(["desk"])
    record = Exchange(
        "ex_1",
        "desk",
        0.0,
        Answerer.TEACHER,
        Reason.NOT_TRUSTED,
        200,
        usage=Usage(7, 2),
        cost_usd=0.25,
        total_ms=40.0,
        upstream_ms=39.8,
        shadow=True,
    )
    metrics.exchange(record)
    metrics.exchange(record)
    text = metrics.render()
    assert value(text, "requests_total", task="desk", answered_by="teacher", reason="not_trusted", code="200") == 2
    assert value(text, "request_seconds_bucket", task="desk", answered_by="teacher", le="0.025") == 0
    assert value(text, "request_seconds_bucket", task="desk", answered_by="teacher", le="0.05") == 2
    assert value(text, "request_seconds_sum", task="desk", answered_by="teacher") == pytest.approx(0.08)
    assert value(text, "overhead_seconds_bucket", task="desk", le="0.0001") == 0
    assert value(text, "overhead_seconds_bucket", task="desk", le="0.00025") == 2
    assert value(text, "tokens_total", task="desk", answered_by="teacher", direction="in") == 14
    assert value(text, "tokens_total", task="desk", answered_by="teacher", direction="out") == 4
    assert value(text, "cost_dollars_total", task="desk") == 0.5
    assert value(text, "shadows_total", task="desk") == 2


def test_streams_errors_and_feedback():
    metrics = Metrics(["desk"])
    stream = metrics.stream("desk", Answerer.TEACHER)
    stream.began(0.3)
    stream.broken_by_client += 1
    metrics.stream("desk", Answerer.TEACHER).broken_by_upstream += 2
    metrics.error(429, "overloaded")
    metrics.error(502, None)
    metrics.feedback("desk")
    metrics.records_dropped.inc()
    text = metrics.render()
    assert value(text, "first_byte_seconds_bucket", task="desk", answered_by="teacher", le="0.5") == 1
    assert value(text, "streams_broken_total", task="desk", answered_by="teacher", by="client") == 1
    assert value(text, "streams_broken_total", task="desk", answered_by="teacher", by="upstream") == 2
    assert value(text, "errors_total", status="429", code="overloaded") == 1
    assert value(text, "errors_total", status="502", code="none") == 1
    assert value(text, "feedback_total", task="desk") == 1
    assert value(text, "records_dropped_total") == 1


def test_labels_stay_few_whatever_comes():
    metrics = Metrics(["desk"])
    for number in range(5_000):
        metrics.tally(f"model-{number}", Answerer.TEACHER, Reason.PASSTHROUGH, 200).add(
            0.1, 0.1, 1, 1, 0.0, shadow=False
        )
        metrics.tally("desk", Answerer.TEACHER, Reason.FORCED, 1_000 + number).add(0.1, 0.1, 1, 1, 0.0, shadow=False)
        metrics.stream(f"model-{number}", Answerer.TEACHER).began(0.1)
        metrics.error(400 + number, f"code-{number}")
    report = metrics.report()
    assert {(tally.task, tally.code, tally.requests) for tally in report.tallies} == {
        ("other", "200", 5_000),
        ("desk", "other", 5_000),
    }
    assert [sum(stream.first_byte) for stream in report.streams] == [5_000]
    text = metrics.render()
    assert total(text, "errors_total") == 5_000
    assert len(shown(text)) < 500


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([*SECONDS, 0.0, 1e-9, 0.0007, 7.5, 61.0, 1e6]) | st.floats(0, 100), max_size=30))
def test_buckets_are_those_of_prometheus_client(times):
    metrics = Metrics(["desk"])
    registry = CollectorRegistry()
    peer = Histogram(
        "tutelage_gateway_request_seconds", "x", ("task", "answered_by"), buckets=SECONDS, registry=registry
    )
    tally = metrics.tally("desk", Answerer.STUDENT, Reason.CHAMPION, 200)
    peer.labels("desk", "student")
    for seconds in times:
        tally.add(seconds, 0.0, 0, 0, 0.0, shadow=False)
        peer.labels("desk", "student").observe(seconds)
    ours, theirs = shown(metrics.render()), shown(generate_latest(registry))
    for key, number in theirs.items():
        if not key[0].endswith("_created"):
            assert ours[key] == pytest.approx(number)


ENDINGS = st.tuples(
    st.sampled_from(["desk", "mail", "unknown"]),
    st.sampled_from(list(Answerer)),
    st.sampled_from(list(Reason)),
    st.sampled_from([200, 429, 999]),
    st.floats(0, 100),
)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(ENDINGS, max_size=12), min_size=1, max_size=4))
def test_the_sum_of_several_is_what_one_would_have_counted(workers):
    def count(metrics, endings):
        for task, answered_by, reason, status, seconds in endings:
            metrics.tally(task, answered_by, reason, status).add(
                seconds, seconds / 2, 3, 1, 0.125, shadow=status == 200
            )
            metrics.stream(task, answered_by).began(seconds)
            metrics.error(status, "x")

    one, several = Metrics(["desk", "mail"]), [Metrics(["desk", "mail"]) for _ in workers]
    for metrics, endings in zip(several, workers, strict=True):
        count(metrics, endings)
        count(one, endings)
    before = [metrics.render() for metrics in several]
    summed = shown(render(merge([merge([metrics.report()]) for metrics in several])))
    assert [without_cpu(shown(metrics.render())) for metrics in several] == [without_cpu(shown(t)) for t in before]
    assert without_cpu(summed) == pytest.approx(without_cpu(shown(one.render())))


def without_cpu(lines):
    return {key: number for key, number in lines.items() if not key[0].startswith("process_")}


def test_gauges_are_summed_or_the_worst_of_all():
    one, two = Metrics(["desk"]), Metrics(["desk"])
    for metrics, in_flight, up, trusted in ((one, 3, 1, 2), (two, 4, 0, 5)):
        metrics.in_flight.set(in_flight)
        metrics.student_up.set(up)
        metrics.trusted_classes.labels("desk").set(trusted)
    text = render(merge([one.report(), two.report()]))
    assert value(text, "in_flight") == 7
    assert value(text, "student_up") == 0
    assert value(text, "trusted_classes", task="desk") == 5


class House:
    """A parent and its workers, in one process, over real socket pairs."""

    def __init__(self, *, seconds=0.02):
        self._seconds = seconds
        self.hub = MetricsHub(self._own)
        self.serving: list[asyncio.Task[None]] = []
        self.workers: list[tuple[Metrics, Reporter, socket.socket]] = []

    async def _own(self):
        return Report()

    async def hire(self) -> Metrics:
        ours, theirs = socket.socketpair()
        self.serving.append(asyncio.create_task(self.hub.serve(ours)))
        metrics = Metrics(["desk"])
        reporter = Reporter(metrics, theirs, seconds=self._seconds)
        await reporter.start()
        self.workers.append((metrics, reporter, theirs))
        return metrics

    async def close(self):
        for _, reporter, _ in self.workers:
            await reporter.stop()
        async with asyncio.timeout(5):
            await asyncio.gather(*self.serving)


@contextlib.asynccontextmanager
async def house(**how):
    opened = House(**how)
    try:
        yield opened
    finally:
        await opened.close()


def answer(metrics, times):
    for _ in range(times):
        metrics.tally("desk", Answerer.STUDENT, Reason.CHAMPION, 200).add(0.01, 0.01, 1, 1, 0.0, shadow=False)


async def test_whoever_is_asked_shows_the_sum():
    async with house() as opened:
        one, two = await opened.hire(), await opened.hire()
        answer(one, 3)
        answer(two, 4)
        one.in_flight.set(1)
        two.in_flight.set(1)
        await asyncio.sleep(0.1)
        for metrics in (one, two):
            text = await metrics.exposition()
            assert total(text, "requests_total") == 7
            assert total(text, "in_flight") == 2
        answer(one, 1)
        assert total(await one.exposition(), "requests_total") == 8, "its own numbers are always the latest"


async def test_a_worker_that_is_gone_stays_counted():
    async with house(seconds=60) as opened:
        one, two = await opened.hire(), await opened.hire()
        answer(one, 3)
        one.in_flight.set(5)
        await opened.workers[0][1].stop()
        await opened.serving[0]
        text = await two.exposition()
        assert total(text, "requests_total") == 3, "its last report was made when it ended"
        assert total(text, "in_flight") == 0, "nothing is under way in a process that is no more"
        three = await opened.hire()
        answer(three, 2)
        assert total(await three.exposition(), "requests_total") == 5
        opened.workers.pop(0)


async def test_a_worker_killed_in_the_middle_of_a_report_counts_as_last_reported():
    async with house() as opened:
        survivor = await opened.hire()
        killed = await opened.hire()
        answer(killed, 3)
        assert total(await killed.exposition(), "requests_total") == 3
        _, reporter, _ = opened.workers.pop()
        reporter._writer.write(struct.pack(">I", 1000) + b"half of a report")
        reporter._writer.transport.abort()
        await opened.serving[1]
        assert total(await survivor.exposition(), "requests_total") == 3
        await reporter.stop()


async def test_many_ask_at_once():
    async with house() as opened:
        metrics = await opened.hire()
        answer(metrics, 5)
        texts = await asyncio.gather(*(metrics.exposition() for _ in range(50)))
        assert {total(text, "requests_total") for text in texts} == {5}


async def test_without_the_parent_nothing_is_made_up():
    ours, theirs = socket.socketpair()
    metrics = Metrics(["desk"])
    reporter = Reporter(metrics, theirs)
    await reporter.start()
    asking = asyncio.create_task(metrics.exposition())
    await asyncio.sleep(0.05)
    ours.close()
    with pytest.raises(UnavailableError):
        await asking
    with pytest.raises(UnavailableError):
        await metrics.exposition()
    await reporter.stop()


async def test_the_parents_own_numbers(tmp_path):
    journal = Journal.connect("redis://127.0.0.1:9/0")
    shipper = Shipper(tmp_path, journal)
    shipper.shipped, shipper.lag_bytes, shipper.redis_up = 12, 345, False
    parent = ParentMetrics(tmp_path, shipper)
    parent.follow_workers(list, lambda: 2)
    text = render(await parent.report())
    assert value(text, "journal_shipped_total") == 12
    assert value(text, "journal_lag_bytes") == 345
    assert value(text, "journal_up") == 0
    assert value(text, "log_bytes") == 0
    assert value(text, "worker_restarts_total") == 2
    assert shown(text)["process_resident_memory_bytes", frozenset()] > 1e6


async def test_each_upstream_has_series_of_its_own(tmp_path):
    teacher = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    task = {"labels": ["a", "b"], "teacher": teacher, "limits": {}}
    document = {
        "state": str(tmp_path / "state"),
        "tasks": {"desk": task, "mail": task},
        "passthrough": {"base_url": teacher["base_url"]},
    }
    gateway = Gateway(load_settings(write_settings(tmp_path / "tutelage.yaml", document)))
    gateway.targets.tasks["desk"].teacher.requests = 3
    gateway.targets.tasks["mail"].teacher.requests = 5
    shown = gateway.metrics.render().decode()
    await gateway.stop()
    expected = {"the student": 0, "the challenger": 0, "the default upstream": 0}
    for name, requests in (expected | {"the teacher of desk": 3, "the teacher of mail": 5}).items():
        assert f'tutelage_gateway_upstream_requests_total{{upstream="{name}"}} {requests}.0' in shown
