"""What people are told about alarms: delivered to real receivers on loopback, once, and again after failures."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from core.errors import NotificationError, SettingsError
from core.ids import mint
from core.lease import Leases
from core.ledger import Alarm, RunState, Severity
from core.settings import NotifySettings, Settings
from monitoring.notify import Alertmanager, Event, Message, Notifier, alert_of, compose, open_channels
from tests.support.monitoring_world import NOON, task_settings
from tests.support.webhook import Receiver

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


def settings(tmp_path: Path, *, task: dict[str, object] | None = None, **notify) -> Settings:
    made = Settings(state=tmp_path, tasks={"desk": task_settings()}, notify=NotifySettings(**notify))
    return made.model_copy(update={"tasks": {"desk": made.tasks["desk"].model_copy(update=task or {})}})


def alarm(**changes) -> Alarm:
    evidence = {
        "what": "Student agreement fell below its baseline of 92.0 %.",
        "sure": "a false alarm in 1.0 % of stretches at most.",
        "withdrawn": {"c1": {}, "c2": {}},
        "threshold": {"from": 0.5, "to": 0.8},
        "teacher_share": 0.4,
        "costs": {"teacher_share_before": 0.1, "exchanges_a_day": 10_000, "fallback_usd_a_day": 12.5},
        "examples": [{"exchange": "ex_1", "student": "c1", "teacher": "c2", "text": "my secret words"}],
    }
    found = Alarm(
        id=mint("al"),
        task="desk",
        version="3",
        signal="student_agreement",
        cause="student_agreement",
        severity=Severity.WARNING,
        opened=NOON,
        updated=NOON,
        cooldown=NOON,
        retrain=True,
        labels=("c1", "c2"),
        evidence=evidence,
        first_exchange="ex_first",
    )
    return replace(found, **changes)


def direct(tmp_path, ledger, receiver, clock=None, **notify) -> Notifier:
    environment = {"URLS": f"json://127.0.0.1:{receiver.port}/hook/token-of-mine"}
    chosen = settings(tmp_path, apprise_urls_env="URLS", **notify)
    channels = open_channels(chosen.notify, ledger.id, environment)
    return Notifier(chosen, ledger, channels, clock=clock or Clock())


def test_a_message_answers_what_a_person_asks(tmp_path, ledger):
    body = compose(alarm(), Event.OPENED, settings(tmp_path), ledger, NOON).body
    for told in (
        "fell below its baseline of 92.0 %",
        "begin with exchange ex_first",
        "c1, c2",
        "How sure: a false alarm in 1.0 %",
        "trust was taken from 2 classes",
        "from confidence 0.8 on instead of 0.5",
        "about 40.0 % of exchanges",
        "$12.50 a day at 10,000 exchanges",
        "up to 2,000 times, $5.00 at most",
        "Next: a run starts now",
        "tutelage alarms --show al_",
    ):
        assert told in body
    assert "secret" not in body


@pytest.mark.parametrize(
    ("task", "changes", "told"),
    [
        ({}, {"retrain": False, "cause": "input_drift"}, "only warns: input_drift is not in watch.retrain_on"),
        (
            {"retrain": {"automatic": False}},
            {},
            "it needs you: no run starts by itself, since retrain.automatic is off",
        ),
        ({"retrain": {"runs_per_day": 0}}, {}, "retrain.runs_per_day is 0"),
    ],
)
def test_it_says_what_happens_next(tmp_path, ledger, task, changes, told):
    update = {name: getattr(task_settings(), name).model_copy(update=values) for name, values in task.items()}
    body = compose(alarm(**changes), Event.OPENED, settings(tmp_path, task=update), ledger, NOON).body
    assert told in body


def test_it_says_that_a_run_is_under_way_or_waits(tmp_path, ledger):
    def told() -> str:
        return compose(alarm(), Event.OPENED, settings(tmp_path), ledger, NOON + 60).body

    assert ledger.runs.begin("run_1", "desk", champion="3", step="data", at=NOON, about={})
    assert "run run_1 is under way (step data)" in told()
    assert ledger.runs.claim("run_1", "me", at=NOON, stale_before=NOON)
    run = ledger.runs.get("run_1")
    result = {"cost_usd": 1.5}
    assert ledger.runs.finish_step(run, "me", result, then="verdict", at=NOON)
    run = ledger.runs.get("run_1")
    assert ledger.runs.close(run, "me", RunState.REFUSED, verdict="refused", reason="", report="", at=NOON)
    assert "(retrain.cooldown_minutes since the last run)" in told()
    assert "the last one cost $1.50" in told()


def test_a_changed_teacher_holds_runs_back_where_the_settings_say_so(tmp_path, ledger):
    about_teacher = ledger.alarms.raise_alarm(alarm(cause="teacher_drift", retrain=False))
    watch = task_settings().watch.model_copy(update={"hold_on_teacher_drift": True})
    told = compose(alarm(), Event.OPENED, settings(tmp_path, task={"watch": watch}), ledger, NOON).body
    assert f"no run starts before alarm {about_teacher.id} is resolved" in told
    assert "a run starts now" in compose(alarm(), Event.OPENED, settings(tmp_path), ledger, NOON).body


@pytest.mark.parametrize("wanted", [True, False])
def test_examples_are_quoted_only_where_both_settings_say_so(tmp_path, ledger, wanted):
    chosen = settings(tmp_path, examples=wanted)
    assert ("secret words" in compose(alarm(), Event.OPENED, chosen, ledger, NOON).body) is wanted
    privacy = task_settings().privacy.model_copy(update={"store": "none"})
    private = settings(tmp_path, examples=wanted, task={"privacy": privacy})
    assert "secret" not in compose(alarm(), Event.OPENED, private, ledger, NOON).body


def test_it_is_told_once_and_that_it_is_over(tmp_path, ledger, receiver):
    notifier = direct(tmp_path, ledger, receiver)
    raised = ledger.alarms.raise_alarm(alarm())
    for _ in range(3):
        notifier.round()
    ((path, _, body),) = receiver.received
    assert path == "/hook/token-of-mine"
    assert body["title"] == "[WARNING] desk: student agreement (student version 3)"
    assert "Next: a run starts now" in body["message"]
    assert body["type"] == "warning"
    assert ledger.alarms.resolve(raised.id, "version 4 has taken over", NOON + 60)
    direct(tmp_path, ledger, receiver).round()  # another process
    assert len(receiver.received) == 2
    assert "version 4 has taken over" in receiver.received[1][2]["message"]
    assert receiver.received[1][2]["type"] == "success"
    notifier.round()
    assert len(receiver.received) == 2


def test_that_it_has_become_worse_is_told_as_well(tmp_path, ledger, receiver):
    notifier = direct(tmp_path, ledger, receiver)
    raised = ledger.alarms.raise_alarm(alarm())
    notifier.round()
    ledger.alarms.update(replace(raised, severity=Severity.CRITICAL))
    ledger.alarms.raise_alarm(alarm(cause="class_agreement", severity=Severity.CRITICAL))
    for _ in range(3):
        notifier.round()
    assert [body["title"][:10] for _, _, body in receiver.received] == ["[WARNING] ", "[CRITICAL]", "[CRITICAL]"]


def test_a_failure_is_tried_again_later_and_nothing_of_the_address_is_written_down(tmp_path, ledger, receiver):
    clock = Clock()
    notifier = direct(tmp_path, ledger, receiver, clock)
    receiver.status = 500
    raised = ledger.alarms.raise_alarm(alarm())
    for seconds in (0, 1, 5, 1, 9, 1):
        clock.now += seconds
        notifier.round()
    assert len(receiver.received) == 3, "at once, after 5 seconds, after 10 more"
    ((key, note),) = ledger.notifications.about([raised.id]).items()
    assert key[1] == "opened"
    assert (note.attempts, note.sent) == (3, None)
    assert "token-of-mine" not in str(note)
    assert str(receiver.port) not in note.error
    receiver.status = 200
    clock.now += 3600
    direct(tmp_path, ledger, receiver, clock).round()  # as after a restart
    (note,) = ledger.notifications.about([raised.id]).values()
    assert note.sent == clock.now
    assert notifier.failed == 3


def test_what_is_long_over_is_not_told(tmp_path, ledger, receiver):
    old = ledger.alarms.raise_alarm(alarm(opened=NOON - 200_000))
    ledger.alarms.resolve(old.id, "long ago", NOON - 100_000)
    direct(tmp_path, ledger, receiver).round()
    assert receiver.received == []


def test_one_channel_that_fails_holds_no_other_up(tmp_path, ledger, receiver):
    with Receiver() as other:
        other.status = 403
        file = tmp_path / "urls"
        file.write_text(f"# two\njson://127.0.0.1:{other.port}/a\njson://127.0.0.1:{receiver.port}/b\n")
        chosen = settings(tmp_path, apprise_urls_file=file)
        notifier = Notifier(chosen, ledger, open_channels(chosen.notify, ledger.id), clock=Clock())
        raised = ledger.alarms.raise_alarm(alarm())
        notifier.round()
        assert len(receiver.received) == len(other.received) == 1
        notes = ledger.notifications.about([raised.id])
        assert sorted(note.sent is not None for note in notes.values()) == [False, True]


@pytest.mark.parametrize(
    ("notify", "environment", "told"),
    [
        ({"apprise_urls_env": "URLS"}, {}, "URLS, which is not set"),
        ({"apprise_urls_env": "URLS"}, {"URLS": "gibberish"}, "none that Apprise knows"),
        ({"apprise_urls_file": Path("/nonexistent/urls")}, {}, "cannot be read"),
    ],
)
def test_settings_that_name_what_is_not_there_are_refused(notify, environment, told):
    with pytest.raises(SettingsError, match=told) as refused:
        open_channels(NotifySettings(**notify), "salt", environment)
    assert "gibberish" not in str(refused.value)


def test_addresses_hold_no_secrets():
    with pytest.raises(ValueError, match="alertmanager_authorization_env"):
        NotifySettings(alertmanager_url="http://me:secret@127.0.0.1:9093")
    with pytest.raises(ValueError, match="holds no"):
        NotifySettings(link="https://example.org/alarms")


def manager(tmp_path, ledger, receiver, clock) -> Notifier:
    chosen = settings(
        tmp_path,
        alertmanager_url=f"http://127.0.0.1:{receiver.port}/",
        alertmanager_authorization_env="TOKEN",
        link="https://console/alarms/{id}",
    )
    return Notifier(chosen, ledger, [], Alertmanager(chosen.notify, {"TOKEN": "Bearer of-news"}), clock)


def test_alertmanager_is_told_again_and_again_as_it_expects(tmp_path, ledger, receiver):
    clock = Clock()
    notifier = manager(tmp_path, ledger, receiver, clock)
    notifier.round()
    assert receiver.received == [], "there is nothing to tell"
    raised = ledger.alarms.raise_alarm(alarm())
    for _ in range(4):
        notifier.round()
        clock.now += 30
    assert len(receiver.received) == 2, "at once, and after a minute"
    path, headers, (alert,) = receiver.received[0]
    assert path == "/api/v2/alerts"
    assert headers["authorization"] == "Bearer of-news"
    assert alert["labels"] == {
        "alertname": "TutelageStudentAgreement",
        "task": "desk",
        "cause": "student_agreement",
        "severity": "warning",
        "version": "3",
    }
    assert alert["generatorURL"] == alert["annotations"]["link"] == f"https://console/alarms/{raised.id}"
    assert alert["startsAt"] == "2025-06-15T15:06:40.000+00:00"
    assert alert["endsAt"] == "2025-06-15T15:10:40.000+00:00"
    ledger.alarms.resolve(raised.id, "it is well", clock.now)
    notifier.round()
    assert receiver.received[-1][2][0]["endsAt"] == "2025-06-15T15:08:40.000+00:00"
    clock.now += 100
    notifier.round()
    assert len(receiver.received) == 4
    clock.now += 1000
    notifier.round()
    assert len(receiver.received) == 4, "a quarter of an hour is enough"


def test_alertmanager_that_is_away_is_told_when_it_is_back(tmp_path, ledger, receiver):
    clock = Clock()
    receiver.status = 503
    raised = ledger.alarms.raise_alarm(alarm())
    manager(tmp_path, ledger, receiver, clock).round()
    ledger.alarms.resolve(raised.id, "it is well", clock.now)
    clock.now += 3000
    receiver.status = 200
    manager(tmp_path, ledger, receiver, clock).round()  # by another process, and long after it was resolved
    notes = ledger.notifications.about([raised.id])
    assert notes[raised.id, "resolved", "alertmanager"].sent == clock.now
    assert notes[raised.id, "opened", "alertmanager"].sent is None


async def test_of_two_monitors_one_tells(tmp_path, ledger, receiver, redis_url):
    clock = time.time
    ledger.alarms.raise_alarm(alarm(opened=time.time()))
    leases = [Leases(redis_url), Leases(redis_url)]
    notifiers = [direct(tmp_path, ledger, receiver, clock) for _ in leases]
    work = [asyncio.create_task(n.run(lease)) for n, lease in zip(notifiers, leases, strict=True)]
    async with asyncio.timeout(20):
        await asyncio.to_thread(_until, lambda: receiver.received)
        await asyncio.sleep(1.5)
    for task in work:
        task.cancel()
    await asyncio.wait(work)
    assert all(task.cancelled() for task in work)
    for lease in leases:
        await lease.close()
    assert len(receiver.received) == 1
    assert sorted(notifier.delivered for notifier in notifiers) == [0, 1]


def test_apprise_reaches_nobody_but_the_service_and_loads_only_where_it_is_used(receiver):
    """In a process of its own, where every connection and look-up is seen."""
    script = f"""
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args[1] if event == "socket.connect" else args))
                 if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname") else None)
import monitoring.serve
assert "apprise" not in sys.modules
from core.settings import NotifySettings
from monitoring.notify import open_channels
from monitoring.notify.message import Event, Message
from tests.monitoring.test_notifications import alarm
url = "json://127.0.0.1:{receiver.port}/hook"
(channel,) = open_channels(NotifySettings(apprise_urls_env="URLS"), "salt", {{"URLS": url}})
channel.send(Message(alarm(), Event.OPENED, "title", "body", "link"))
hosts = {{(args[0], args[1]) for _, args in seen}}
assert hosts == {{("127.0.0.1", {receiver.port})}}, hosts
"""
    ran = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    ((_, _, body),) = receiver.received
    assert "github" not in json.dumps(body)


@pytest.mark.integration
@pytest.mark.skipif(ALERTMANAGER is None, reason="Alertmanager is not installed (Debian: prometheus-alertmanager)")
def test_the_real_alertmanager_takes_it(tmp_path, ledger, receiver, free_port):
    config = tmp_path / "alertmanager.yml"
    hook = f"http://127.0.0.1:{receiver.port}/page"
    config.write_text(
        "route: {receiver: page, group_wait: 0s, group_interval: 1s}\n"
        f"receivers: [{{name: page, webhook_configs: [{{url: '{hook}', send_resolved: true}}]}}]\n"
    )
    address = f"127.0.0.1:{free_port}"
    command = [
        str(ALERTMANAGER),
        f"--config.file={config}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    chosen = settings(tmp_path, alertmanager_url=f"http://{address}")
    notifier = Notifier(chosen, ledger, [], Alertmanager(chosen.notify))
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _until(lambda: _answers(f"http://{address}/-/ready"))
            raised = ledger.alarms.raise_alarm(alarm(opened=time.time()))
            notifier.round()
            (alert,) = httpx.get(f"http://{address}/api/v2/alerts").json()
            assert alert["labels"]["cause"] == "student_agreement"
            _until(lambda: receiver.received)
            ledger.alarms.resolve(raised.id, "it is well", time.time())
            notifier.round()
            _until(lambda: receiver.received[-1][2]["status"] == "resolved")
        finally:
            process.terminate()
    page = receiver.received[0][2]
    assert page["status"] == "firing"
    assert page["commonAnnotations"]["link"] == f"tutelage alarms --show {raised.id}"


def test_what_is_refused_says_so(receiver):
    receiver.status = 400
    target = Alertmanager(NotifySettings(alertmanager_url=f"http://127.0.0.1:{receiver.port}"))
    with pytest.raises(NotificationError, match="answered 400"):
        target.post([alert_of(_message(), NOON, 60)])
    away = Alertmanager(NotifySettings(alertmanager_url="http://127.0.0.1:9"))
    with pytest.raises(NotificationError, match="does not answer"):
        away.post([])


def _message():
    return Message(alarm(), Event.OPENED, "title", "body", "tutelage alarms")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def _until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
