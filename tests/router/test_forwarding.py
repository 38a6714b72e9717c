"""Who answers when somebody fails, is slow, or costs too much; and that clients see nothing of it, where it can be."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.limits import Limits
from core.records import Answerer, Reason, Usage
from tests.router.conftest import Running, run_gateway
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server, free_port, module_process, wait_for
from tests.support.students import LABELS, write_student

STUDENTS = "where is my parcel"
TEACHERS = "hello there"
PRICE = (7 * 2.0 + 2 * 10.0) / 1e6
BREAKER = {"consecutive_failures": 3, "open_seconds": 0.6, "max_open_seconds": 0.6, "probes": 2}
SELDOM = {"refresh_seconds": 60.0}
"""The gateway looks at its student once: only its requests tell it what became of him."""


class MortalStudent:
    """A student server that may be killed, and live again at the same address."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes]
        self.live()

    def live(self) -> None:
        command = ("server.serve", "--model", f"desk={self._folder}", "--port", str(self.port))
        self.process = self._stack.enter_context(module_process(*command))
        wait_for(f"{self.url}/readyz", process=self.process)

    def die(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("mortal") / "desk")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def mortal(stack: ExitStack, student_folder: Path) -> Callable[[], MortalStudent]:
    return lambda: MortalStudent(stack, student_folder)


class Load:
    """Clients that ask without a pause from threads of their own, until they are told to stop."""

    def __init__(self, gateway: Running, clients: int = 4) -> None:
        self.answers: list[httpx.Response] = []
        self._gateway = gateway
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._asking = [self._pool.submit(self._ask) for _ in range(clients)]

    @property
    def reasons(self) -> Counter[str]:
        return Counter(answer.headers["x-tutelage-reason"] for answer in self.answers)

    def until(self, condition: Callable[[], Any]) -> None:
        self._gateway.wait(condition)

    def more(self, count: int) -> None:
        """Wait until so many more are answered."""
        goal = len(self.answers) + count
        self.until(lambda: len(self.answers) >= goal)

    def end(self) -> None:
        self._stopping.set()
        for asking in self._asking:
            asking.result(20)
        self._pool.shutdown()

    def _ask(self) -> None:
        body = {"model": "desk", "messages": [{"role": "user", "content": STUDENTS}]}
        with httpx.Client(base_url=self._gateway.url, timeout=20) as client:
            while not self._stopping.is_set():
                self.answers.append(client.post("/v1/chat/completions", json=body))


def reason_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-tutelage-reason"]


# the student


def test_a_killed_student_costs_no_request_and_comes_back(stack, tmp_path, mortal):
    student = mortal()
    gateway = run_gateway(stack, tmp_path, student.url, student={"url": student.url, "breaker": BREAKER})
    gateway.trust(*LABELS)
    load = Load(gateway)
    try:
        load.more(20)
        student.die()
        load.until(lambda: load.reasons["student_unavailable"] > 20)
        student.live()
        gateway.wait(lambda: gateway.metric("tutelage_gateway_student_up") == 1)
        load.until(lambda: load.answers[-1].headers["x-tutelage-reason"] == "champion")
    finally:
        load.end()
    assert {answer.status_code for answer in load.answers} == {200}
    assert load.reasons.keys() <= {"champion", "student_unavailable", "breaker_open", "retry_fallback"}
    assert len(gateway.teacher.requests) == len(load.answers) - load.reasons["champion"]
    assert Counter(record.reason for record in gateway.records()) == load.reasons


def test_a_breaker_opens_and_lets_probes_through_when_its_time_is_over(stack, tmp_path, mortal):
    student = mortal()
    settings = {"url": student.url, "breaker": BREAKER, "retry": {"attempts": 1}}
    gateway = trusting_gateway(stack, tmp_path, student.url, gateway=SELDOM, student=settings)

    def state():
        return gateway.metric("tutelage_gateway_upstream_breaker_state", upstream="the student")

    assert reason_of(gateway.ask(STUDENTS)) == "champion"
    student.die()
    assert [reason_of(gateway.ask(STUDENTS)) for _ in range(3)] == ["retry_fallback"] * 3
    assert reason_of(gateway.ask(STUDENTS)) == "breaker_open"
    assert state() == 2
    gateway.wait(lambda: reason_of(gateway.ask(STUDENTS)) == "retry_fallback")
    assert reason_of(gateway.ask(STUDENTS)) == "breaker_open", "one probe has failed, and that was enough"
    student.live()
    gateway.wait(lambda: reason_of(gateway.ask(STUDENTS)) == "champion")
    assert state() == 1, "half open, as long as not all probes have passed"
    assert reason_of(gateway.ask(STUDENTS)) == "champion"
    assert state() == 0
    assert gateway.metric("tutelage_gateway_upstream_ejections_total", upstream="the student") >= 2
    assert all(record.status == 200 for record in gateway.records())


def test_of_two_replicas_one_is_killed_and_nobody_needs_the_teacher(stack, tmp_path, mortal):
    one, other = mortal(), mortal()
    settings = {"urls": [one.url, other.url], "breaker": BREAKER}
    gateway = run_gateway(stack, tmp_path, one.url, student=settings)
    gateway.trust(*LABELS)

    def of_replica(name, replica):
        return gateway.metric(f"tutelage_gateway_upstream_{name}", upstream="the student", replica=replica)

    def serves_again():
        return reason_of(gateway.ask(STUDENTS)) == "champion" and of_replica("breaker_state", "0") == 0

    assert [reason_of(gateway.ask(STUDENTS)) for _ in range(10)] == ["champion"] * 10
    one.die()
    assert [reason_of(gateway.ask(STUDENTS)) for _ in range(30)] == ["champion"] * 30
    assert not gateway.teacher.requests
    assert of_replica("ejections_total", "0") >= 1
    assert of_replica("ejections_total", "1") == 0
    one.live()
    gateway.wait(serves_again)
    assert not gateway.teacher.requests


def test_a_replica_killed_under_load_takes_what_it_had_in_hand_and_no_more(stack, tmp_path, mortal):
    one, other = mortal(), mortal()
    gateway = run_gateway(stack, tmp_path, one.url, student={"urls": [one.url, other.url], "breaker": BREAKER})
    gateway.trust(*LABELS)
    load = Load(gateway, clients=6)
    try:
        load.more(50)
        one.die()
        load.more(100)
    finally:
        load.end()
    assert {answer.status_code for answer in load.answers} == {200}
    assert load.reasons.keys() <= {"champion", "retry_fallback"}
    assert load.reasons["retry_fallback"] <= 6, "whoever was being answered; it might have been at work on it"


def test_a_slow_student_gives_way_in_time(stack, tmp_path, mortal):
    student = mortal()
    stack.callback(student.thaw)
    gateway = trusting_gateway(stack, tmp_path, student.url, gateway=SELDOM | {"student_seconds": 0.3})
    assert reason_of(gateway.ask(STUDENTS)) == "champion"
    student.freeze()
    begun = time.monotonic()
    assert reason_of(gateway.ask(STUDENTS)) == "over_deadline"
    assert 0.25 < time.monotonic() - begun < 2
    assert reason_of(gateway.ask(STUDENTS, stream=True)) == "over_deadline"
    student.thaw()
    gateway.wait(lambda: reason_of(gateway.ask(STUDENTS)) == "champion")


def test_the_deadline_holds_for_the_student_as_well(stack, tmp_path, mortal):
    student = mortal()
    stack.callback(student.thaw)
    gateway = trusting_gateway(
        stack, tmp_path, student.url, gateway=SELDOM | {"student_seconds": 10.0, "deadline_seconds": 0.5}
    )
    student.freeze()
    begun = time.monotonic()
    answer = gateway.ask(STUDENTS)
    assert time.monotonic() - begun < 3
    assert answer.status_code == 504


def trusting_gateway(stack: ExitStack, folder: Path, student_url: str, **overrides: Any) -> Running:
    """A gateway that knows at its start that the student is trusted: for those that look seldom."""
    first = ExitStack()
    with first:
        run_gateway(first, folder, student_url).trust(*LABELS)
    return run_gateway(stack, folder, student_url, **overrides)


# the budget of falling back


def test_dollars_of_falling_back_warn_first_and_then_the_student_answers(stack, tmp_path, student_url):
    gateway = run_gateway(stack, tmp_path, student_url, task={"fallback": {"dollars_per_day": 10 * PRICE}})
    gateway.trust("order_status")
    reasons, warned = [], []
    for _ in range(12):
        reasons.append(reason_of(gateway.ask("a refund please")))
        warned.append(gateway.metric("tutelage_gateway_fallback_budget_warning"))
    assert reasons == ["not_trusted"] * 10 + ["fallback_spent"] * 2
    assert warned == [0] * 7 + [1] * 5, "from four fifths on"
    assert gateway.metric("tutelage_gateway_fallback_budget_spent") == 1
    assert gateway.metric("tutelage_gateway_fallback_refusals_total") == 2
    assert len(gateway.teacher.requests) == 10
    last = gateway.records()[-1]
    assert (last.answered_by, last.reason, last.label) == (Answerer.STUDENT, Reason.FALLBACK_SPENT, "refund_status")
    assert last.cost_usd == 0
    mismatch = gateway.ask("where is it", n=2)
    assert mismatch.status_code == 429, "no student can answer this"
    assert mismatch.json()["error"]["code"] == "fallback_spent"


@pytest.mark.parametrize("stream", [False, True])
def test_where_the_settings_say_so_falling_back_is_refused(stack, tmp_path, student_url, stream):
    fallback = {"dollars_per_day": 2 * PRICE, "when_spent": "refuse"}
    gateway = run_gateway(stack, tmp_path, student_url, task={"fallback": fallback})
    gateway.trust(*LABELS)
    assert [reason_of(gateway.ask(TEACHERS, stream=stream)) for _ in range(2)] == ["low_confidence"] * 2
    refused = gateway.ask(TEACHERS, stream=stream)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "fallback_spent"
    assert int(refused.headers["retry-after"]) >= 1
    assert reason_of(gateway.ask(STUDENTS, stream=stream)) == "champion"
    assert len(gateway.teacher.requests) == 2


def test_a_share_of_traffic_holds_falling_back(stack, tmp_path, student_url):
    fallback = {"max_share": 0.25, "min_requests": 8}
    gateway = run_gateway(stack, tmp_path, student_url, task={"fallback": fallback})
    gateway.trust(*LABELS)
    assert [reason_of(gateway.ask(STUDENTS)) for _ in range(8)] == ["champion"] * 8
    reasons = Counter(reason_of(gateway.ask(TEACHERS)) for _ in range(12))
    assert reasons == {"low_confidence": 5, "fallback_spent": 7}, "five of the twenty"
    assert gateway.metric("tutelage_gateway_fallback_share") == pytest.approx(0.25)
    forced = gateway.ask(STUDENTS, headers={"x-tutelage-answer-by": "teacher"})
    assert reason_of(forced) == "forced", "the share is about what the student might have answered"


# the teacher


@pytest.mark.parametrize(
    ("behaviour", "stream", "status", "code"),
    [
        ("cut_early", True, 502, "upstream_error"),
        ("hang", True, 504, "deadline_exceeded"),
        ("hang", False, 504, "deadline_exceeded"),
        ("rubbish", False, 502, "upstream_error"),
    ],
)
def test_a_teacher_that_fails_before_the_first_byte_is_a_plain_error(faulty, behaviour, stream, status, code):
    faulty.teacher.behaviour = behaviour
    answer = faulty.ask(TEACHERS, stream=stream)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == code
    record = faulty.records()[-1]
    assert (record.answered_by, record.status, record.cost_usd) == (Answerer.NOBODY, status, 0)
    assert faulty.metric("tutelage_gateway_streams_broken_total") == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_teacher_that_is_not_there_is_a_502(stack, tmp_path, student_url, stream):
    gateway = run_gateway(stack, tmp_path, student_url, teacher={"base_url": f"http://127.0.0.1:{free_port()}/v1"})
    answer = gateway.ask(TEACHERS, stream=stream)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_error"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[Running]:
    """A gateway whose teacher misbehaves, and which waits half a second for it; its breaker never opens."""
    with ExitStack() as stack:
        gateway = run_gateway(
            stack,
            tmp_path_factory.mktemp("faulty"),
            student_url,
            gateway={"deadline_seconds": 1.0},
            teacher={"breaker": {"consecutive_failures": 1000, "min_requests": 1000}},
        )
        yield gateway


def test_a_stream_that_breaks_off_ends_with_an_error_and_is_counted(gateway):
    gateway.teacher.behaviour = "cut"
    answer = gateway.ask(TEACHERS, stream=True)
    events = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
    assert json.loads(events[-1])["error"]["code"] == "upstream_error"
    assert "[DONE]" not in answer.text
    assert all(choice["finish_reason"] is None for event in events[:-1] for choice in json.loads(event)["choices"])
    broken = gateway.metric("tutelage_gateway_streams_broken_total", by="upstream", task="desk", answered_by="teacher")
    assert broken == 1
    (record,) = gateway.records()
    assert (record.complete, record.status, record.answered_by) == (False, 200, Answerer.TEACHER)
    assert record.cost_usd > 0, "what it said until then is billed"


def test_a_client_that_leaves_in_mid_stream_is_charged_and_the_teacher_stops_at_once(gateway):
    key, secret = gateway.ledger.keys.create("app", actor="a test", at=time.time(), limits=Limits(dollars_per_day=1e-9))
    header = {"authorization": f"Bearer {secret}"}
    gateway.wait(lambda: gateway.ask(STUDENTS).status_code == 401)
    assert gateway.ask(STUDENTS, headers=header).status_code == 200
    gateway.teacher.behaviour = "stall"
    body = {"model": "desk", "messages": [{"role": "user", "content": TEACHERS}], "stream": True}
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, headers=header, timeout=5) as answer:
        pieces = answer.iter_bytes()
        assert b"refund" in next(pieces)
        assert gateway.metric("tutelage_gateway_in_flight") == 1
        left = time.monotonic()
    assert gateway.teacher.cancelled.wait(5)
    assert time.monotonic() - left < 1
    gateway.wait(lambda: gateway.records()[-1].streamed)
    record = gateway.records()[-1]
    assert (record.complete, record.answered_by, record.output) == (False, Answerer.TEACHER, "refund")
    assert record.key == key.id
    assert record.usage.prompt_tokens > 0
    assert record.usage.completion_tokens > 0
    assert record.cost_usd == pytest.approx(
        (record.usage.prompt_tokens * 2.0 + record.usage.completion_tokens * 10.0) / 1e6
    )
    refused = gateway.ask(STUDENTS, headers=header)
    assert refused.json()["error"]["code"] == "insufficient_quota", "the key has paid for it"
    assert gateway.metric("tutelage_gateway_streams_broken_total", by="client") == 1
    assert gateway.metric("tutelage_gateway_in_flight") == 0


def test_the_client_chooses_the_teacher_and_an_alias_is_the_task(gateway):
    answer = gateway.ask(STUDENTS, model="gpt-4o", headers={"x-tutelage-answer-by": "Teacher"})
    assert reason_of(answer) == "forced"
    assert gateway.teacher.requests[0]["model"] == "big-teacher"
    assert reason_of(gateway.ask(STUDENTS, model="gpt-4o")) == "champion"
    assert [(record.task, record.reason) for record in gateway.records()] == [
        ("desk", Reason.FORCED),
        ("desk", Reason.CHAMPION),
    ]


# the default upstream


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[tuple[Running, Teacher]]:
    """A gateway with a default upstream, and that upstream."""
    default = Teacher(label="anything at all")
    with ExitStack() as stack:
        passthrough = {
            "base_url": f"{stack.enter_context(asgi_server(default))}/v1",
            "models": ["gpt-4.1*", "text-embedding-?"],
            "input_price": 4.0,
            "output_price": 20.0,
        }
        yield run_gateway(stack, tmp_path_factory.mktemp("open"), student_url, passthrough=passthrough), default


SECRET = "the password is xyzzy"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": SECRET}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": SECRET}], "stream": True}),
        ("/v1/completions", {"prompt": SECRET}),
        ("/v1/completions", {"prompt": SECRET, "stream": True}),
        ("/v1/responses", {"input": SECRET}),
        ("/v1/responses", {"input": SECRET, "stream": True}),
    ],
)
def test_other_models_go_to_the_default_upstream_and_nothing_of_them_is_kept(open_house, path, body):
    gateway, default = open_house
    before = gateway.metric("tutelage_gateway_cost_dollars_total", task="passthrough")
    given = {"model": "gpt-4.1-mini", "of_tomorrow": [1, None], "user": "mallory"} | body
    answer = httpx.post(gateway.url + path, json=given, timeout=20)
    assert reason_of(answer) == "passthrough"
    asked = dict(default.requests[-1])
    assert default.paths[-1] == path
    asked.pop("stream_options", None)
    assert asked == given, "under its own name, and untouched"
    record = gateway.records()[-1]
    assert (record.task, record.reason, record.answered_by) == ("passthrough", Reason.PASSTHROUGH, Answerer.TEACHER)
    assert (record.text, record.request, record.output, record.label, record.user) == (None, b"", None, None, "")
    assert (record.text_hash, record.output_hash) == ("", "")
    assert record.usage == Usage(7, 2)
    assert record.cost_usd == pytest.approx((7 * 4.0 + 2 * 20.0) / 1e6)
    after = gateway.metric("tutelage_gateway_cost_dollars_total", task="passthrough")
    assert after - before == pytest.approx(record.cost_usd)
    assert_nothing_kept(gateway, b"xyzzy", b"anything at all", b"mallory")


def test_embeddings_go_to_the_default_upstream(open_house):
    gateway, default = open_house
    answer = httpx.post(f"{gateway.url}/v1/embeddings", json={"model": "text-embedding-3", "input": [SECRET]})
    assert answer.json()["data"][0]["embedding"] == [0.25, -0.5]
    assert default.paths[-1] == "/v1/embeddings"
    assert gateway.records()[-1].cost_usd == pytest.approx(7 * 4.0 / 1e6)
    assert_nothing_kept(gateway, b"xyzzy")


def test_a_model_that_no_pattern_covers_is_a_404(open_house):
    gateway, default = open_house
    asked, recorded = len(default.requests), len(gateway.records())
    for model in ("gpt-4", "text-embedding-33", "GPT-4.1"):
        answer = gateway.ask(STUDENTS, model=model)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
    assert (len(default.requests), len(gateway.records())) == (asked, recorded)
    assert reason_of(gateway.ask(TEACHERS)) != "passthrough", "a task stays a task"
    assert len(default.requests) == asked


def test_the_default_upstream_is_for_keys_that_may_use_it(stack, tmp_path, student_url):
    default = stack.enter_context(asgi_server(Teacher()))
    gateway = run_gateway(stack, tmp_path, student_url, passthrough={"base_url": f"{default}/v1"})

    every, desk = gateway.create_key("all"), gateway.create_key("one", "--task", "desk")
    other = gateway.create_key("two", "--task", "passthrough")
    gateway.wait(lambda: gateway.ask(TEACHERS, headers=other).status_code == 403)
    assert [gateway.ask(TEACHERS, headers=key).status_code for key in (every, desk, other)] == [200, 200, 403]
    foreign = [gateway.ask(TEACHERS, model="gpt-x", headers=key) for key in (every, desk, other)]
    assert [answer.status_code for answer in foreign] == [200, 403, 200]
    assert foreign[1].json()["error"]["code"] == "model_not_allowed"


def assert_nothing_kept(gateway: Running, *words: bytes) -> None:
    """None of these words stands in any file of the gateway's."""
    for path in gateway.settings.state.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [word for word in words if word in content], path
