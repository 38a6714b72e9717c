"""A challenger that answers a share of live requests, and a version's own threshold, in a real gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger import Canary as Share
from core.ledger import Ledger, Threshold, Trust
from core.records import Answerer
from core.templates import compile_template
from router.canary import Canary
from server.app import StudentApp
from server.batching import Limits
from server.metrics import StudentMetrics
from server.versions import ALIASES, ServedTask, Versions
from tests.router.conftest import VERSION, Running, run_gateway, serve_gateway
from tests.support.processes import asgi_server
from tests.support.students import CUES, LABELS, write_student

OTHER_WAY = {"order_status": CUES["refund_status"], "refund_status": CUES["order_status"], "praise": CUES["praise"]}


class _Students:
    """A student server in this process: version 1 champion, version 2 challenger. The challenger can be broken."""

    def __init__(self, folder: Path) -> None:
        cues = (CUES, OTHER_WAY)
        self._folders = [write_student(folder / f"student{n}", "desk", each) for n, each in enumerate(cues)]
        metrics = StudentMetrics()
        templates = (compile_template("default", [("user", "{text}")]),)
        self._versions = Versions([ServedTask("desk", templates)], Limits(), metrics)
        self._app = StudentApp(self._versions, metrics, 1 << 20)
        self.broken = False

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "lifespan":
            await self._serve(scope, receive, send)
            return
        await receive()
        for number, (alias, folder) in enumerate(zip(ALIASES, self._folders, strict=True), start=1):
            await self._versions.install("desk", alias, str(number), folder)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._versions.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope, receive, send) -> None:
        first = await receive()
        if self.broken and b"desk@2" in first.get("body", b""):
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        given = [first]

        async def again():
            return given.pop() if given else await receive()

        await self._app(scope, again, send)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Running, _Students]]:
    with ExitStack() as stack:
        students = _Students(tmp_path / "students")
        running = run_gateway(stack, tmp_path, stack.enter_context(asgi_server(students)))
        rows = [Trust("desk", "2", label, True, 1.0, 99, "for a test", 1.0) for label in LABELS]
        running.ledger.set_trust("desk", "2", rows)
        running.trust(*LABELS, version="1")
        yield running, students


def _reasons(running: Running, users: int, **more) -> dict[str, str]:
    """Who answered each user."""
    found = {}
    for number in range(users):
        response = running.ask("where is it", user=f"user {number}", **more)
        assert response.status_code == 200
        found[f"user {number}"] = response.headers["x-tutelage-reason"]
    return found


def _begin(running: Running, share: float, version: str = "2") -> None:
    running.ledger.canaries.begin(Share("desk", version, share, 1.0))
    running.wait(lambda: running.gateway._snapshot.canary("desk") is not None)


def test_a_share_of_users_stays_with_the_challenger(house):
    running, _ = house
    assert set(_reasons(running, 10).values()) == {"champion"}
    _begin(running, 0.4)
    first = _reasons(running, 40)
    share = Canary.of("desk", "2", 0.4)
    assert first == {user: "challenger" if share.takes(user) else "champion" for user in first}
    assert 5 < sum(reason == "challenger" for reason in first.values()) < 28
    assert _reasons(running, 40) == first
    challenger = next(record for record in running.records() if record.reason == "challenger")
    assert (challenger.version, challenger.canary, challenger.label) == ("2", "2", "refund_status")
    assert challenger.answered_by is Answerer.STUDENT
    assert all(record.canary == "" for record in running.records() if record.reason == "champion")


def test_it_answers_what_it_is_trusted_with_alone(house):
    running, _ = house
    running.ledger.set_trust("desk", "2", [])
    _begin(running, 0.5)
    running.wait(lambda: "2" not in running.gateway._snapshot.trusted("desk"))
    reasons = _reasons(running, 20)
    assert set(reasons.values()) == {"champion", "not_trusted"}
    judged = next(record for record in running.records() if record.reason == "not_trusted")
    assert (judged.canary, judged.student.version, judged.answered_by) == ("2", "2", Answerer.TEACHER)


def test_what_a_broken_challenger_does_not_answer_the_teacher_does(house):
    running, students = house
    _begin(running, 0.5)
    students.broken = True
    reasons = _reasons(running, 60)
    assert set(reasons.values()) <= {"champion", "retry_fallback", "breaker_open"}
    failed = [record for record in running.records() if record.reason == "retry_fallback"]
    assert failed
    assert all((r.canary, r.student, r.answered_by, r.version) == ("2", None, Answerer.TEACHER, "") for r in failed)
    share = Canary.of("desk", "2", 0.5)
    assert all(reason == "champion" for user, reason in reasons.items() if not share.takes(user)), (
        "the challenger's failures open no breaker of the champion's"
    )


def test_a_canary_ends_with_the_ledgers_word_or_its_version(house):
    running, _ = house
    running.ledger.canaries.begin(Share("desk", "7", 0.5, 1.0))  # a version that no server holds
    assert set(_reasons(running, 15).values()) == {"champion"}
    _begin(running, 0.5)
    assert "challenger" in _reasons(running, 15).values()
    running.ledger.canaries.end("desk")
    running.wait(lambda: running.gateway._snapshot.canary("desk") is None)
    assert set(_reasons(running, 15).values()) == {"champion"}


def test_what_the_client_forces_and_what_no_template_reads_is_no_canary(house):
    running, _ = house
    _begin(running, 0.5)
    assert set(_reasons(running, 12, headers={"x-tutelage-answer-by": "teacher"}).values()) == {"forced"}
    assert set(_reasons(running, 12, tools=[{"type": "function", "function": {"name": "f"}}]).values()) == {
        "template_mismatch"
    }
    assert not any(record.canary for record in running.records())


def test_each_version_has_its_threshold(tmp_path, student_url):
    with ExitStack() as stack:
        task = {"trust": {"min_confidence": 0.4, "target_agreement": 0.9}}
        running = run_gateway(stack, tmp_path, student_url, task=task)
        running.trust(*LABELS)
        snapshot = running.gateway._snapshot

        def threshold(confidence, version=VERSION):
            row = Threshold("desk", version, confidence, 0.9, "for a test", 1.0)
            running.ledger.thresholds.replace("desk", version, row)

        assert snapshot.min_confidence("desk", VERSION) == 0.4
        threshold(0.999, "another")
        threshold(0.3)
        running.wait(lambda: snapshot.min_confidence("desk", "another") == 0.999)
        assert snapshot.min_confidence("desk", VERSION) == 0.4, "never below the setting"
        assert running.ask("where is it").headers["x-tutelage-reason"] == "champion"
        threshold(None)
        running.wait(lambda: snapshot.min_confidence("desk", VERSION) > 1)
        assert running.ask("where is it").headers["x-tutelage-reason"] == "low_confidence"

        gone = tmp_path / "a-folder-where-the-ledger-was"
        gone.mkdir()
        away = running.settings.ledger.model_copy(update={"url": f"sqlite:///{gone}"})
        settings = running.settings.model_copy(update={"ledger": away})
        after = serve_gateway(stack, settings, running.teacher, Ledger(settings.ledger_url))
        assert after.ask("where is it").headers["x-tutelage-reason"] == "low_confidence"
        assert after.gateway._snapshot.min_confidence("desk", "another") == 0.999


def test_without_a_target_a_threshold_of_before_says_nothing(gateway):
    gateway.ledger.thresholds.replace("desk", VERSION, Threshold("desk", VERSION, None, 0.9, "", 1.0))
    gateway.trust(LABELS[0])
    gateway.trust(*LABELS)  # so that the ledger has been read since
    assert gateway.gateway._snapshot.min_confidence("desk", VERSION) == 0.5


@given(st.text(max_size=30), st.sampled_from(["1", "2", "17" * 40]))
def test_the_share_grows_without_moving_anybody(user, version):
    taken = [Canary.of("desk", version, share).takes(user) for share in (0.0, 0.05, 0.2, 0.5, 1.0)]
    assert taken == sorted(taken)
    assert (taken[0], taken[-1]) == (False, True)


def test_the_share_is_kept_and_differs_from_canary_to_canary():
    users = [f"user-{number}" for number in range(20_000)]
    first, second = Canary.of("desk", "2", 0.05), Canary.of("desk", "3", 0.05)
    taken = {user for user in users if first.takes(user)}
    assert 850 < len(taken) < 1150
    assert len({user for user in users if second.takes(user)} & taken) < 100
