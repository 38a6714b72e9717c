"""The monitor's own reports: when they are due, that each is written once, and what becomes of failures."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from core.archive import Archive
from core.errors import StateError
from core.ledger import Ledger
from core.settings import Settings
from monitoring.report import store
from monitoring.report.facts import Report
from monitoring.report.job import Job, job_of
from monitoring.report.keeper import ReportKeeper, due, run_in_process
from monitoring.report.window import Window
from tests.support.monitoring_world import World
from tests.support.report_world import DAY, MIDNIGHT, ReportWorld, priced_task

DUE = 1900.0  # seconds after a window has ended


@dataclass
class Reader:
    task: str = "desk"
    leading: bool = True
    reports: dict[str, int] = field(default_factory=lambda: {"written": 0, "failed": 0})


@dataclass
class Jobs:
    """Does nothing, and notes it; fails as long as it should."""

    done: list[Window] = field(default_factory=list)
    failing: int = 0

    async def __call__(self, job: Job) -> list[str]:
        if self.failing:
            self.failing -= 1
            raise StateError("the archive is away")
        self.done.append(job.window)
        return ["report.html"]


class Clock:
    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def day(number: int) -> Window:
    return Window(MIDNIGHT + number * DAY, MIDNIGHT + (number + 1) * DAY)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path / "state", tasks={"desk": priced_task(report_days=30)})


def test_a_window_is_due_when_it_has_ended_and_settled():
    behind = MIDNIGHT + DAY
    assert due(24, None, behind + DUE) == [day(0)]
    assert due(24, None, behind + 60) == [day(-1)], "what ended a minute ago may still be compared and archived"
    assert due(24, behind, behind + DUE) == []
    assert due(24, behind - 2 * DAY, behind + DUE) == [day(-1), day(0)]
    assert due(24, behind - 90 * DAY, behind + DUE) == [day(number) for number in range(-6, 1)]
    assert due(6, None, behind + 6 * 3600 + DUE) == [Window(behind, behind + 6 * 3600)]
    assert due(24, behind + 5 * DAY, behind + DUE) == [], "a clock that was put back"


async def test_each_window_is_reported_once_also_by_the_next_monitor(settings: Settings):
    reader, jobs, clock = Reader(), Jobs(), Clock(MIDNIGHT + DAY + DUE)
    keeper = ReportKeeper(settings, [reader], clock, jobs)
    for _ in range(3):
        await keeper.look(reader)
        clock.at += 600
    assert jobs.done == [day(0)]
    clock.at += 2 * DAY
    await ReportKeeper(settings, [reader], clock, jobs).look(reader)
    assert jobs.done == [day(0), day(1), day(2)]
    assert reader.reports == {"written": 3, "failed": 0}


async def test_a_failure_is_counted_and_tried_again_an_hour_later(settings: Settings):
    reader, jobs, clock = Reader(), Jobs(failing=2), Clock(MIDNIGHT + DAY + DUE)
    keeper = ReportKeeper(settings, [reader], clock, jobs)
    for _ in range(5):
        await keeper.look(reader)
        clock.at += 60
    assert reader.reports == {"written": 0, "failed": 1}
    for _ in range(3):
        clock.at += 3601
        await keeper.look(reader)
    assert reader.reports == {"written": 1, "failed": 2}
    assert jobs.done == [day(0)]


async def test_none_is_written_where_the_settings_want_none(tmp_path: Path):
    settings = Settings(state=tmp_path, tasks={"desk": priced_task(report_hours=None)})
    reader, jobs = Reader(), Jobs()
    await ReportKeeper(settings, [reader], Clock(MIDNIGHT + DAY + DUE), jobs).look(reader)
    assert (jobs.done, reader.reports) == ([], {"written": 0, "failed": 0})


async def test_old_reports_are_removed(settings: Settings):
    now = MIDNIGHT + DAY + DUE
    ages = {"1": 31, "2": 29}
    for version, age in ages.items():
        folder = store.folder_of(settings, "desk", version, day(-age))
        folder.mkdir(parents=True)
        for name in (store.JSON, store.HTML):
            (folder / name).write_text("{}")
        os.utime(folder / store.JSON, (now - age * DAY, now - age * DAY))
    reader = Reader()
    await ReportKeeper(settings, [reader], Clock(now), Jobs()).look(reader)
    left = {path.parent.parent.name for path in settings.state.rglob(store.HTML)}
    assert left == {"2"}
    assert not (settings.state / "reports" / "desk" / "1").exists()
    assert store.prune(settings, "desk", None, now + 1000 * DAY) == 0
    assert store.prune(settings, "nobody", 1, now) == 0


async def test_a_process_of_its_own_writes_one_for_each_version(settings: Settings, tmp_path: Path):
    ledger = Ledger(settings.ledger_url)
    ledger.migrate()
    world = ReportWorld(ledger, Archive(settings.archive_url, ledger))
    world.day(0, 300)
    exchange, _ = World(7, "2").pair(drawn=False)
    world.put([msgspec.structs.replace(exchange, at=MIDNIGHT + 7)])
    ledger.close()
    reader, now = Reader(), MIDNIGHT + DAY + DUE
    await ReportKeeper(settings, [reader], Clock(now)).look(reader)
    assert reader.reports == {"written": 2, "failed": 0}
    for version in ("1", "2"):
        folder = store.folder_of(settings, "desk", version, day(0))
        report = msgspec.json.decode((folder / store.JSON).read_bytes(), type=Report)
        assert (report.version, report.window, report.written) == (version, "2025-06-15--2025-06-15", now)
        assert (folder / store.HTML).read_text().startswith("<!doctype html>")
    assert store.written_until(settings, "desk") == MIDNIGHT + DAY


async def test_a_process_that_fails_says_why(tmp_path: Path):
    settings = Settings(state=tmp_path, ledger={"url": f"sqlite:///{tmp_path}"}, tasks={"desk": priced_task()})
    with pytest.raises(StateError, match="unable to open database file"):
        await run_in_process(job_of(settings, "desk", day(0), MIDNIGHT + DAY))


def test_a_job_keeps_what_is_not_set_unset():
    task = {"labels": ["a", "b"], "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "t"}}
    settings = Settings(tasks={"desk": task})
    job = msgspec.json.decode(msgspec.json.encode(job_of(settings, "desk", day(0), 0.0)), type=Job)
    assert Settings(**job.settings) == settings
