"""What the keeper does while the ledger is away, and with what has grown too old."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from core.ids import mint
from core.ledger import Ledger
from core.privacy import Privacy
from core.settings import TaskSettings
from router.tasks import Task
from router.templates import TemplateKeeper
from router.upstream import teacher_upstream

TEXTS = ["where is it", "refund me", "thanks a lot", "my money", "tracking", "great work"]


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/state/ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def task():
    settings = TaskSettings.model_validate(
        {
            "labels": ["a", "b"],
            "teacher": {"base_url": "http://127.0.0.1:1/v1", "model": "t"},
            "privacy": {"retention_days": 2},
        }
    )
    return Task("desk", settings, teacher_upstream(settings.teacher), Privacy(settings.privacy, b""))


def keeper(task, ledger, tmp_path, clock=time.time):
    counter = Counter("unknown", "for a test", ["task"], registry=CollectorRegistry())
    return TemplateKeeper({"desk": task}, ledger, tmp_path / "templates.json", counter, clock)


def note(task, *texts, at=0.0):
    for text in texts:
        messages = [("system", "Sort what a customer says."), ("user", text)]
        task.unmatched.requests += 1
        task.unmatched.note(messages, mint(), "", at or time.time())


def test_what_was_seen_while_the_ledger_was_away_is_written_once_it_is_back(task, ledger, tmp_path):
    kept = keeper(task, ledger, tmp_path)
    (tmp_path / "state" / "ledger.db").mkdir(parents=True)
    note(task, *TEXTS)
    asyncio.run(kept.refresh())
    note(task, "one more")
    asyncio.run(kept.refresh())
    (tmp_path / "state" / "ledger.db").rmdir()
    note(task, "and another")
    asyncio.run(kept.refresh())
    asyncio.run(kept.refresh())
    (seen,) = ledger.unknown_templates.all()
    assert (seen.requests, seen.among) == (len(TEXTS) + 2, len(TEXTS) + 2)
    assert seen.template is not None


def test_examples_older_than_the_retention_go(task, ledger, tmp_path):
    now = time.time()
    kept = keeper(task, ledger, tmp_path, lambda: now)
    later = now + 3 * 86_400
    note(task, *TEXTS, at=later)
    asyncio.run(kept.refresh())
    assert ledger.unknown_templates.all()[0].example
    now = later
    asyncio.run(kept.refresh())
    (seen,) = ledger.unknown_templates.all()
    assert seen.example == ()
    assert seen.template is not None  # of which nobody can be known
    note(task, "a new one", at=later)
    asyncio.run(kept.refresh())
    (seen,) = ledger.unknown_templates.all()
    assert seen.example[1] == ("user", "a new one")


def test_two_workers_tell_of_the_same_template_once(task, ledger, tmp_path):
    other = Task("desk", task.settings, task.teacher, task.privacy)
    first, second = keeper(task, ledger, tmp_path), keeper(other, ledger, tmp_path)
    note(task, *TEXTS)
    note(other, *reversed(TEXTS))
    with capture_logs() as logs:
        asyncio.run(first.refresh())
        asyncio.run(second.refresh())
    assert [line["id"] for line in logs if line["event"] == "new_template_seen"] == [
        one.id for one in ledger.unknown_templates.all()
    ]
    (seen,) = ledger.unknown_templates.all()
    assert (seen.requests, seen.among) == (2 * len(TEXTS), 2 * len(TEXTS))


def test_a_restarted_gateway_goes_on_counting_what_it_knew(task, ledger, tmp_path):
    note(task, *TEXTS)
    asyncio.run(keeper(task, ledger, tmp_path).refresh())
    again = Task("desk", task.settings, task.teacher, task.privacy)
    kept = keeper(again, ledger, tmp_path)
    with capture_logs() as logs:
        asyncio.run(kept.refresh())
        note(again, "after the restart")
        asyncio.run(kept.refresh())
    assert [line for line in logs if line["event"] == "new_template_seen"] == []
    (seen,) = ledger.unknown_templates.all()
    assert seen.requests == len(TEXTS) + 1


@pytest.mark.parametrize("seed", range(6))
def test_every_request_is_counted_once_whatever_comes_in_between(task, ledger, tmp_path, seed):
    drawn = random.Random(seed)
    kept = keeper(task, ledger, tmp_path)

    async def ask():
        for text in TEXTS:
            note(task, text)
            await asyncio.sleep(drawn.random() * 0.02)

    async def work():
        asking = asyncio.create_task(ask())
        while not asking.done():
            await kept.refresh()
        await kept.refresh()

    asyncio.run(work())
    (seen,) = ledger.unknown_templates.all()
    assert (seen.requests, seen.template is not None) == (len(TEXTS), True)
