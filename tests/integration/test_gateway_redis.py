"""Gateways and their Redis: limits that several share, limits without it, and accounts that agree from end to end."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.archive import Archive
from core.ledger import Ledger, Trust
from core.limits import Limits
from core.records import Kind
from core.redis_server import RedisServer, start_redis
from core.settings import Settings, load_settings
from tests.router.conftest import VERSION, Running, run_gateway
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server, free_port, module_process, wait_for, write_settings
from tests.support.students import LABELS, write_student

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

TEXT = "hello there"
PRICE = (7 * 2.0 + 2 * 10.0) / 1e6
"""Dollars of a teacher's answer."""

RATES = [("requests", "requests_per_minute"), ("tokens", "tokens_per_minute")]
BUDGETS = [("day", "dollars_per_day"), ("month", "dollars_per_month")]
"""Names of keys, with the limit that each has."""

Header = dict[str, str]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start_gateway(stack: ExitStack, folder: Path, redis_url: str, **gateway: Any) -> Running:
    """A gateway without a student, so that its teacher answers everything. Those in one folder share its ledger."""
    own = folder / f"gateway-{time.time_ns()}"
    own.mkdir()
    nobody = f"http://127.0.0.1:{free_port()}"
    ledger = {"url": f"sqlite:///{folder}/ledger.db"}
    return run_gateway(stack, own, nobody, redis={"url": redis_url}, ledger=ledger, gateway=gateway)


def create_key(name: str, *gateways: Running, **limits: Any) -> Header:
    """Create a key, and wait until each of the gateways knows it."""
    _, secret = gateways[0].ledger.keys.create(name, actor="a test", at=time.time(), limits=Limits(**limits))
    header = {"authorization": f"Bearer {secret}"}
    for gateway in gateways:
        gateway.wait(lambda: models(gateway.url) == 401 and models(gateway.url, header) == 200)  # noqa: B023
    return header


def models(url: str, header: Header | None = None) -> int:
    """The status of the list of models: 401 for everybody else as soon as there is a key."""
    return httpx.get(f"{url}/v1/models", headers=header).status_code


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def is_limited(answer: httpx.Response) -> bool:
    return answer.status_code == 429


# Redis stops


def own_redis(stack: ExitStack, folder: Path) -> RedisServer:
    server = start_redis(folder / "redis", free_port())
    stack.callback(server.stop)
    return server


def test_without_redis_requests_go_on_and_each_gateway_keeps_the_limits(stack, tmp_path):
    redis = own_redis(stack, tmp_path)
    gateway = start_gateway(stack, tmp_path, redis.url, refresh_seconds=0.05)
    limited, free = create_key("limited", gateway, requests_per_minute=4), create_key("free", gateway)
    assert gateway.metric("tutelage_gateway_limiter_redis_up") == 1
    first = gateway.ask(TEXT, headers=limited)
    assert int(first.headers["x-ratelimit-remaining-requests"]) == 3

    redis.stop()
    gateway.wait(lambda: gateway.metric("tutelage_gateway_limiter_redis_up") == 0)
    answers = [gateway.ask(TEXT, headers=limited) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
    assert code_of(answers[-1]) == (429, "rate_limit_exceeded")
    assert gateway.ask(TEXT, headers=free).status_code == 200
    assert gateway.ask(TEXT).status_code == 401, "who asks is known without Redis"
    assert gateway.ask(TEXT, headers={"authorization": "Bearer tut-aaaaaaaa-bbbb"}).status_code == 401
    later = create_key("later", gateway, requests_per_minute=2)
    assert [gateway.ask(TEXT, headers=later).status_code for _ in range(3)] == [200, 200, 429]
    assert sum(record.status == 200 for record in gateway.records()) == 1 + 3 + 1 + 2

    stack.callback(start_redis(tmp_path / "redis", redis.port).stop)
    gateway.wait(lambda: gateway.metric("tutelage_gateway_limiter_redis_up") == 1)
    assert gateway.ask(TEXT, headers=limited).status_code == 429, "what was used meanwhile is not forgotten"


def test_closed_refuses_whoever_has_a_limit_and_nobody_else(stack, tmp_path):
    redis = own_redis(stack, tmp_path)
    gateway = start_gateway(stack, tmp_path, redis.url, refresh_seconds=0.05, limits_without_redis="closed")
    rates = [create_key(name, gateway, **{limit: 1000}) for name, limit in RATES]
    budgets = [create_key(name, gateway, **{limit: 2.5 * PRICE}) for name, limit in BUDGETS]
    free, leased = create_key("free", gateway), create_key("leased", gateway, requests_per_minute=5)
    assert gateway.ask(TEXT, headers=leased).status_code == 200
    time.sleep(0.3)  # it is given its lease meanwhile

    redis.stop()
    gateway.wait(lambda: gateway.metric("tutelage_gateway_limiter_redis_up") == 0)
    for header in rates:
        refused = gateway.ask(TEXT, headers=header)
        assert code_of(refused) == (503, "limits_unavailable")
        assert refused.headers["retry-after"] == "1"
    for header in budgets:
        used = [gateway.ask(TEXT, headers=header).status_code for _ in range(4)]
        assert used == [200, 200, 200, 429], "the only gateway may spend what was left"
    assert gateway.ask(TEXT, headers=free).status_code == 200
    assert gateway.ask(TEXT).status_code == 401
    used = [gateway.ask(TEXT, headers=leased).status_code for _ in range(6)]
    assert used[:4] == [200] * 4, "what was leased may be used up"
    assert set(used[4:]) <= {429, 503}

    stack.callback(start_redis(tmp_path / "redis", redis.port).stop)
    for header in rates:
        gateway.wait(lambda: gateway.ask(TEXT, headers=header).status_code == 200)  # noqa: B023


def test_a_closed_gateway_that_never_saw_its_redis_answers_those_without_limits(stack, tmp_path):
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    gateway = start_gateway(stack, tmp_path, nowhere, refresh_seconds=0.05, limits_without_redis="closed")
    assert gateway.ask(TEXT).status_code == 200
    for name, limit in RATES + BUDGETS:
        assert code_of(gateway.ask(TEXT, headers=create_key(name, gateway, **{limit: 1000}))) == (
            503,
            "limits_unavailable",
        )
    assert gateway.ask(TEXT, headers=create_key("free", gateway)).status_code == 200
    assert gateway.ask(TEXT).status_code == 401


# two gateways


@pytest.fixture
def pair(stack: ExitStack, tmp_path: Path, redis_url: str) -> tuple[Running, Running]:
    """Two gateways that know of each other."""
    one, other = (start_gateway(stack, tmp_path, redis_url, refresh_seconds=0.05) for _ in range(2))
    time.sleep(1.1)  # the first one hears of the second with its next heartbeat, once a second
    return one, other


def test_two_gateways_share_a_keys_limit(pair):
    limit, allowed = 30, 0
    header = create_key("app", *pair, requests_per_minute=limit)
    begun = time.monotonic()
    while time.monotonic() - begun < 2.0:
        allowed += sum(gateway.ask(TEXT, headers=header).status_code == 200 for gateway in pair)
    elapsed = time.monotonic() - begun
    assert limit - 2 <= allowed <= limit + elapsed * limit / 60 + 1, "spread traffic: nothing passes on top"


def test_what_one_gateway_has_used_up_the_other_grants_once_at_most(pair):
    one, other = pair
    limit = 30
    header = create_key("app", *pair, requests_per_minute=limit)
    begun = time.monotonic()
    first = granted(one, header, seconds=1.5)  # at first no more than its half: the other may have begun as well
    late = granted(other, header, seconds=1.0)
    elapsed = time.monotonic() - begun
    assert limit - 1 <= first <= limit + elapsed * limit / 60 + 1
    assert late <= limit / 2 + 1 + elapsed * limit / 60, "docs/limits.md: the W-th part and one request, until it hears"


def granted(gateway: Running, header: Header, seconds: float) -> int:
    """How many requests pass that are sent one after the other for so long."""
    begun, passed = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        passed += gateway_answers(gateway, header) == 200
    return passed


def test_two_gateways_share_a_budget(pair):
    one, other = pair
    header = create_key("app", *pair, dollars_per_day=9.5 * PRICE)
    spent = [gateway_answers(one, header) for _ in range(12)]
    assert spent == [200] * 10 + [429] * 2
    begun = time.monotonic()
    passed = 0
    while gateway_answers(other, header) == 200:
        passed += 1
        assert time.monotonic() - begun < 3.0, "half a second, where the machine has nothing else to do"
    sums = one.ledger.spend
    one.wait(lambda: max(sums.current(time.time()).values(), default=0.0) >= (10 + passed - 0.5) * PRICE)
    assert max(sums.current(time.time()).values()) == pytest.approx((10 + passed) * PRICE), "and the ledger has it all"


def gateway_answers(gateway: Running, header: Header) -> int:
    return gateway.ask(TEXT, headers=header).status_code


# the whole way


class House:
    """Every process that an exchange passes, with prices: student, gateway, shadow worker, archiver, and Redis."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.teacher, self.default = Teacher(), Teacher()
        redis = own_redis(stack, folder)
        ports = {name: free_port() for name in ("gateway", "student", "shadow")}
        teacher = {
            "base_url": f"{stack.enter_context(asgi_server(self.teacher))}/v1",
            "model": "big-teacher",
            "input_price": 2.0,
            "output_price": 10.0,
            "data_may_leave": True,
        }
        always = {"floor": 1.0, "unsure": 1.0, "calls_per_hour": None}
        document = {
            "state": str(folder / "state"),
            "gateway": {"port": ports["gateway"], "refresh_seconds": 0.1},
            "student": {"port": ports["student"]},
            "shadow": {"port": ports["shadow"]},
            "redis": {"url": redis.url},
            "archive": {"flush_seconds": 0.3},
            "passthrough": {
                "base_url": f"{stack.enter_context(asgi_server(self.default))}/v1",
                "input_price": 4.0,
                "output_price": 20.0,
            },
            "tasks": {"desk": {"labels": list(LABELS), "teacher": teacher, "shadow": always}},
        }
        config = write_settings(folder / "tutelage.yaml", document)
        self.settings: Settings = load_settings(config)
        self.settings.state.mkdir()
        self.ledger = Ledger(self.settings.ledger_url)
        stack.callback(self.ledger.close)
        self.ledger.migrate()
        rows = [Trust("desk", VERSION, label, True, 1.0, 99, "for a test", time.time()) for label in LABELS]
        self.ledger.set_trust("desk", VERSION, rows)
        log, flag = folder / "roles.log", ("--config", str(config))
        student = ("--model", f"desk={write_student(folder / 'desk')}", "--port", str(ports["student"]))
        serving = stack.enter_context(module_process("server.serve", *student, log=log))
        stack.enter_context(module_process("tutelage.archiver", *flag, log=log))
        stack.enter_context(module_process("router.shadow.serve", *flag, log=log))
        wait_for(f"{self.settings.student.base_url}/readyz", process=serving)
        self.gateway: subprocess.Popen[bytes] = stack.enter_context(module_process("router.serve", *flag, log=log))
        self.url = f"http://127.0.0.1:{ports['gateway']}"
        self.shadow_url = f"http://127.0.0.1:{ports['shadow']}"
        wait_for(f"{self.url}/readyz", process=self.gateway)
        self.client = stack.enter_context(httpx.Client(base_url=self.url, timeout=20))

    def key(self, name: str, **limits: Any) -> tuple[str, Header]:
        """A key's id and its header."""
        key, secret = self.ledger.keys.create(name, actor="a test", at=time.time(), limits=Limits(**limits))
        header = {"authorization": f"Bearer {secret}"}
        self.wait(lambda: models(self.url) == 401 and models(self.url, header) == 200)
        return key.id, header

    def ask(self, header: Header, text: str, model: str = "desk", **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}]} | more
        answer = self.client.post("/v1/chat/completions", json=body, headers=header)
        assert answer.status_code == 200, answer.text
        return answer

    def wait(self, condition: Any, seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.05)

    def metrics(self, url: str) -> dict[str, float]:
        """Every line of `/metrics`, by its name with its labels."""
        lines = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def archived(self, sql: str, task: str, kind: Kind = Kind.EXCHANGE) -> list[dict[str, Any]]:
        """Rows of the archive's Parquet files."""
        return list(Archive(self.settings.archive_url, self.ledger).query(sql, task, kind).to_pylist())


SUMS = """
    SELECT "key", count(*) AS requests, sum(prompt_tokens) AS prompt, sum(completion_tokens) AS completion,
        sum(cost_usd) AS cost
    FROM records GROUP BY "key"
"""


def test_clients_metrics_records_and_archive_agree_and_shadows_cost_no_key(stack, tmp_path):
    house = House(stack, tmp_path)
    budgeted, with_budget = house.key("budgeted", dollars_per_day=5.0)
    other, without = house.key("other")

    counted: dict[tuple[str, str], Counter[str]] = {}
    """What clients were told, by task and key."""
    for key, header in ((budgeted, with_budget), (other, without)):
        desk, rest = counted[key, "desk"], counted[key, "passthrough"] = Counter(), Counter()
        for text in ("where is it", "a refund please", "hello there", "good morning"):
            for usage in (told(house.ask(header, text)), streamed(house.ask(header, text, **STREAM))):
                desk.update(usage)
        rest.update(told(house.ask(header, "hello there", model="gpt-x")))
        rest.update(streamed(house.ask(header, "hello there", model="gpt-x", **STREAM)))
    by_student, by_teacher = 2 * 4, 2 * 4

    # The archive, read from its files.
    house.wait(lambda: sum(row["requests"] for row in house.archived(SUMS, "desk")) == by_student + by_teacher)
    house.wait(lambda: sum(row["requests"] for row in house.archived(SUMS, "passthrough")) == 4)
    rows = {(row["key"], task): row for task in ("desk", "passthrough") for row in house.archived(SUMS, task)}
    assert rows.keys() == counted.keys()
    for place, row in rows.items():
        assert (row["prompt"], row["completion"]) == (counted[place]["prompt"], counted[place]["completion"])
    for key in (budgeted, other):
        assert rows[key, "desk"]["cost"] == pytest.approx(4 * PRICE)
        assert rows[key, "passthrough"]["cost"] == pytest.approx(2 * (7 * 4.0 + 2 * 20.0) / 1e6)

    # The gateway's metrics.
    metrics = house.metrics(house.url)
    for task in ("desk", "passthrough"):
        cost = metrics[f'tutelage_gateway_cost_dollars_total{{task="{task}"}}']
        assert cost == pytest.approx(sum(row["cost"] for (_, name), row in rows.items() if name == task))
        for direction, column in (("in", "prompt"), ("out", "completion")):
            total = sum(
                value
                for name, value in metrics.items()
                if name.startswith("tutelage_gateway_tokens_total")
                and f'task="{task}"' in name
                and f'direction="{direction}"' in name
            )
            assert total == sum(row[column] for (_, name), row in rows.items() if name == task)

    # Shadow calls: the task pays, no key does, and nobody's key or id is shown to the teacher.
    drawn = "SELECT outcome, cost_usd FROM records WHERE served_by = 'student'"
    house.wait(lambda: len(house.archived(drawn, "desk", Kind.COMPARISON)) == by_student)
    shadows = house.archived(drawn, "desk", Kind.COMPARISON)
    assert {row["outcome"] for row in shadows} == {"answered"}
    assert sum(row["cost_usd"] for row in shadows) == pytest.approx(by_student * PRICE)
    shadow_metrics = house.metrics(house.shadow_url)
    assert shadow_metrics['tutelage_shadow_cost_dollars_total{task="desk"}'] == pytest.approx(by_student * PRICE)
    assert len(house.teacher.requests) == by_student + by_teacher
    assert not [headers for headers in house.teacher.headers if "authorization" in headers]

    house.gateway.send_signal(signal.SIGTERM)
    assert house.gateway.wait(30) == 0
    spent = house.ledger.spend.current(time.time())
    assert {scope for scope, _ in spent} == {f"key:{budgeted}"}
    own = rows[budgeted, "desk"]["cost"] + rows[budgeted, "passthrough"]["cost"]
    assert list(spent.values()) == [pytest.approx(own)], "what its clients were answered, and nothing else"


STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def told(answer: httpx.Response) -> dict[str, int]:
    return _usage(answer.json())


def streamed(answer: httpx.Response) -> dict[str, int]:
    last = answer.text.split("\n\n")[-3]
    return _usage(httpx.Response(200, content=last.removeprefix("data: ")).json())


def _usage(document: Any) -> dict[str, int]:
    usage = document["usage"]
    return {"prompt": usage["prompt_tokens"], "completion": usage["completion_tokens"]}
