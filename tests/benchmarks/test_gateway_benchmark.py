"""The parts of the gateway's benchmark do what they say. Nothing here is a question of time."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import sys
from dataclasses import replace

import httpx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks._gateway_claims import DIRECT, OURS, RIVAL, SLOWEST, Outcome, claims, closing
from benchmarks._gateway_endurance import Endurance, State
from benchmarks._gateway_peers import PEERS, Site, Target, check, free_port
from benchmarks._gateway_plot import draw
from benchmarks._gateway_process import StartError, cpu_seconds, family, pinned, resident_mib, wait_until_answers
from benchmarks._gateway_reader import Counts, Reader
from benchmarks._gateway_rounds import Figures
from benchmarks._gateway_stock import ANSWER, LABELS, TASK, whole_answer
from benchmarks._gateway_streams import break_off_streams, quantile, read_streams, request_bytes
from benchmarks._gateway_table import print_tables
from benchmarks._gateway_upstream import serve
from benchmarks._gateway_wrk import TEXTS, bodies_for, read_result, write_script
from core import wire
from core.labels import unpack_floats
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server

FIGURES = Figures(
    per_second=10_000,
    p50_us=3000,
    p99_us=5000,
    cpu_us=90,
    beside_us=30,
    one_p50_us=150,
    one_p99_us=300,
    first_p50_ms=0.4,
    first_p99_ms=1.5,
    events_per_second=50_000,
    event_cpu_us=18,
    stream_busy=0.95,
    memory_mib=90,
    failed=0,
)
CALM = State(memory_mib=100, descriptors=20, pooled=32, threads=3, in_flight=0, upstream_streams=0)


# The upstream, and the client that reads its streams


@contextlib.asynccontextmanager
async def upstream():
    port = free_port()
    serving = asyncio.create_task(serve(port, "v7"))
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url) as client:
            for _ in range(200):
                with contextlib.suppress(httpx.ConnectError):
                    await client.get("/health")
                    break
                await asyncio.sleep(0.01)
            yield url, client
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def test_the_upstream_answers_as_a_student_server_does():
    async with upstream() as (_, client):
        body = {"model": TASK, "messages": [{"role": "user", "content": "x"}]}
        response = await client.post("/v1/chat/completions", json=body)
        served = (await client.get("/v1/models")).json()["data"][0]
        nothing = await client.get("/v1/elsewhere")
    completion = wire.decode_completion(response.content)
    assert completion.content == ANSWER
    assert completion.tutelage is not None
    assert (completion.tutelage.version, completion.tutelage.label) == ("v7", ANSWER)
    spread = unpack_floats(completion.tutelage.answer().distribution)
    assert len(spread) == len(LABELS)
    assert sum(spread) == pytest.approx(1, abs=0.01)
    assert (served["id"], served["tutelage"]["champion"]) == (TASK, "v7")
    assert nothing.status_code == 404


@pytest.mark.parametrize("usage", [True, False])
async def test_a_stream_has_as_many_events_as_were_asked_for(usage):
    body = {"model": TASK, "stream": True, "max_tokens": 4, "stream_options": {"include_usage": usage}}
    async with upstream() as (_, client):
        response = await client.post("/v1/chat/completions", json=body)
    events = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    chunks = [wire.decode_chunk(event.encode()) for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert [chunk.usage is not None for chunk in chunks] == [False] * 4 + [True] * usage
    assert [chunk.choices[0].finish_reason for chunk in chunks[:4]] == [None, None, None, "stop"]


async def test_streams_are_read_one_after_the_other():
    async with upstream() as (url, _):
        counts = await read_streams(url, request_bytes(url, TASK, {}, events=2), streams=20, seconds=0.3)
    assert counts.failed == 0
    assert counts.streams >= 3
    assert counts.events_in_all >= 3 * counts.streams  # two, and the one that says that it is done
    assert counts.events_in_all > counts.events > 0
    assert counts.first_ms


async def test_streams_that_are_broken_off_are_gone_upstream_too():
    async with upstream() as (url, client):
        request = request_bytes(url, TASK, {}, events=1000)
        counts = await break_off_streams(url, request, streams=4, count=20, longest=3)
        for _ in range(200):
            stats = (await client.get("/stats")).json()
            if not stats["streams"]:
                break
            await asyncio.sleep(0.01)
    assert (counts.streams, counts.failed) == (20, 0)
    assert stats == {"connections": 0, "streams": 0}


async def test_a_refused_stream_is_a_failed_one():
    async with upstream() as (url, _):
        request = request_bytes(url, TASK, {}, events=2).replace(b"POST /v1/chat/completions", b"GET /nothing")
        counts = await break_off_streams(url, request, streams=1, count=3, longest=1)
    assert (counts.streams, counts.failed) == (0, 3)


_ANSWER = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in (b'data: {"a":1}\n\n',) * 5 + (wire.DONE,))
    + b"0\r\n\r\n"
)


class _Wire(asyncio.Transport):
    """Takes what is written, and tells it."""

    def __init__(self):
        super().__init__()
        self.written = []

    def write(self, data):
        self.written.append(data)


@given(st.lists(st.integers(1, len(_ANSWER) - 1), max_size=12, unique=True))
def test_events_are_counted_wherever_the_pieces_are_cut(cuts):
    async def feed():
        counts, transport = Counts(), _Wire()
        reader = Reader(b"request", counts)
        reader.connection_made(transport)
        ends = [17, *sorted(cut for cut in cuts if cut > 17), len(_ANSWER)]  # a status line comes in one piece
        for start, end in zip([0, *ends], ends, strict=False):
            reader.data_received(_ANSWER[start:end])
        return counts, transport.written

    counts, written = asyncio.run(feed())
    assert (counts.events, counts.streams, counts.failed) == (6, 1, 0)
    assert written == [b"request", b"request"]


def test_quantiles():
    assert quantile([], 0.5) is None
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([float(n) for n in range(100)], 0.99) == 99.0


# wrk


def test_the_result_of_wrk_is_read():
    result = '{"requests": 900, "microseconds": 2000000, "failed": 100, "p50_us": 1, "p99_us": 2}'
    printed = f"Running 1s test\n\nRESULT {result}\n"
    load = read_result(printed)
    assert (load.requests, load.failed, load.seconds) == (900, 100, 2.0)
    assert load.per_second == 400
    with pytest.raises(ValueError, match="no result"):
        read_result("Running 1s test\n")


def test_what_wrk_sends_is_the_same_for_all_and_escaped(tmp_path):
    bodies = bodies_for("a model")
    assert len(set(bodies)) == TEXTS
    assert bodies == bodies_for("a model")
    script = write_script(tmp_path / "load.lua", "a model", {"x-key": 'with "quotes"'}).read_text()
    assert r"""["x-key"] = "with \"quotes\"" """.strip() in script
    assert script.count(r"{\"model\": \"a model\"") == TEXTS


# Processes


def test_a_process_is_pinned_watched_and_ended_with_its_children(tmp_path):
    log = tmp_path / "output.log"
    program = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('ready', flush=True); time.sleep(60)"
    with pinned((sys.executable, "-c", program), 0, log) as process:
        while "ready" not in log.read_text():
            assert process.is_running()
        members = family(process)
        assert len(members) == 2
        assert process.cpu_affinity() == [0]
        assert cpu_seconds(members) > 0
        assert resident_mib(members) > 1
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in members)


def test_a_program_that_does_not_start_says_why(tmp_path):
    log = tmp_path / "output.log"
    with (
        pinned((sys.executable, "-c", "raise SystemExit('the port is taken')"), 0, log) as process,
        pytest.raises(StartError, match="the port is taken"),
    ):
        wait_until_answers(f"http://127.0.0.1:{free_port()}/", process, log)


@pytest.mark.parametrize("name", ["vllm-router", "sglang-router", "litellm", "portkey"])
def test_a_peer_that_is_not_installed_names_the_remedy(tmp_path, name):
    site = Site("http://127.0.0.1:1", tmp_path, tmp_path / "nowhere")
    with pytest.raises(StartError, match="make peers"), PEERS[name](site):
        pytest.fail("it cannot have started")


def test_wrong_answers_are_not_measured():
    teacher = Teacher(label=ANSWER, behaviour="cut")
    with asgi_server(teacher) as url:
        with pytest.raises(StartError, match="stream is wrong"):
            check(Target("cuts its streams", "", url))
        teacher.label = "something else"
        with pytest.raises(StartError, match="answer is wrong"):
            check(Target("answers something else", "", url))
    with pytest.raises(StartError, match="does not answer"):
        check(Target("gone", "", url))


async def test_right_answers_are():
    async with upstream() as (url, _):
        await asyncio.to_thread(check, Target("right", "", url))


# What is made of the figures


def outcome(**changes):
    rounds = {
        DIRECT: [replace(FIGURES, per_second=50_000, one_p50_us=30, one_p99_us=60)] * 3,
        OURS: [replace(FIGURES, per_second=12_000, **changes)] * 3,
        RIVAL: [FIGURES] * 3,
        SLOWEST: [replace(FIGURES, per_second=80)] * 3,
    }
    return Outcome(rounds=rounds, versions=dict.fromkeys(rounds, "1.0"), answered=100, journalled=100)


def verdicts(found, *, quick=False, peers=(RIVAL, SLOWEST)):
    return {claim.name: claim.holds for claim in claims(found, peers, quick=quick)}


def test_all_claims_hold_where_they_should():
    found = verdicts(outcome())
    assert len(found) == 8
    assert all(found.values())
    assert "1.20 times vllm-router's requests/s" in closing(outcome())


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"one_p50_us": 151}, "p50 at one connection, vllm-router's to ours"),
        ({"one_p99_us": 1061}, "p99 added at one connection: room below 1 ms"),
        ({"event_cpu_us": 18.1}, "stream events a core-second, to vllm-router's"),
        ({"first_p50_ms": math.inf}, "time to the first event, vllm-router's to ours"),
        ({"failed": 1}, "failed requests and streams (negated)"),
    ],
)
def test_one_claim_fails_by_itself(changes, claim):
    assert [name for name, holds in verdicts(outcome(**changes)).items() if not holds] == [claim]


def test_ratios_are_taken_within_rounds():
    """A machine that is slow for a whole round is slow for both, and the ratio knows nothing of it."""
    found = outcome()
    slow = [1.0, 0.3, 0.5]
    for name in (OURS, RIVAL):
        base = found.rounds[name][0]
        found.rounds[name] = [replace(base, per_second=base.per_second * factor) for factor in slow]
    named = {claim.name: claim.value for claim in claims(found, (RIVAL,), quick=False)}
    assert named["requests/s at 32 connections, to vllm-router's"] == pytest.approx(1.2)


def test_no_claim_holds_against_a_peer_that_did_not_start_and_none_is_made_where_it_was_not_chosen():
    found = outcome()
    del found.rounds[RIVAL]
    assert sum(holds is False for holds in verdicts(found).values()) == 4
    assert not any(RIVAL in name for name in verdicts(found, peers=()))


def test_quick_judges_what_it_can():
    held = verdicts(outcome(event_cpu_us=30), quick=True)
    assert held["stream events a core-second, to vllm-router's"] is True
    assert held["p99 added at one connection: room below 1 ms"] is None


@pytest.mark.parametrize(
    ("after", "left_over", "growth"),
    [
        (CALM, 0, 0),
        (replace(CALM, memory_mib=106), 0, 6),
        (replace(CALM, descriptors=23), 3, 0),
        (replace(CALM, descriptors=10, pooled=64), 0, 0),
        (replace(CALM, pooled=66), 2, 0),
        (replace(CALM, in_flight=1, upstream_streams=1), 2, 0),
    ],
)
def test_what_is_left_over_is_counted(after, left_over, growth):
    endurance = Endurance(200_000, 10_000, 0, 60.0, CALM, after, [100.0])
    assert endurance.left_over == left_over
    assert endurance.growth == pytest.approx(growth)
    found = Outcome(endurance=endurance, answered=10, journalled=10)
    held = verdicts(found)
    assert held["growth of the memory (negated)"] is (growth <= 5)
    assert held["descriptors, requests, streams left over (negated)"] is (left_over == 0)
    assert verdicts(found, quick=True)["growth of the memory (negated)"] is None


def test_the_journal_has_to_hold_everything():
    assert verdicts(replace(outcome(), journalled=99))["exchanges in the journal, of those answered"] is False
    assert verdicts(replace(outcome(), answered=0))["exchanges in the journal, of those answered"] is False


def test_table_and_picture_show_every_gateway(tmp_path):
    found = outcome()
    console = Console(width=120, record=True, file=io.StringIO())
    print_tables(found.medians, DIRECT, found.versions, console)
    shown = console.export_text()
    assert shown.count(f"{OURS} 1.0") == shown.count(f"{SLOWEST} 1.0") == 2
    assert "12,000" in shown
    assert "…" not in shown
    draw(tmp_path / "out" / "picture.png", found.medians, OURS, DIRECT)
    assert (tmp_path / "out" / "picture.png").stat().st_size > 10_000


def test_the_answer_is_that_of_its_version():
    assert whole_answer("a") != whole_answer("b")
