"""The report: its numbers are the monitor's, the page says what the data says, and nothing of any exchange is in it."""

from __future__ import annotations

import json
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from core.archive import Archive
from core.errors import DataError, SettingsError
from core.ids import mint
from core.ledger import Ledger, RunState
from core.records import Answerer, Feedback, Outcome, Reason
from core.settings import Settings
from monitoring.report import store
from monitoring.report.archived import Archived
from monitoring.report.build import build, choose_version, versions_in
from monitoring.report.evidently_page import write_evidently
from monitoring.report.facts import Report
from monitoring.report.page import render
from monitoring.report.replay import estimate
from monitoring.report.window import Window, days, finished, last_days
from monitoring.report.writing import write_report
from monitoring.statistics.calibration import ece_of
from tests.support.drift_world import Inputs
from tests.support.monitoring_world import LABELS, World
from tests.support.report_world import DAY, MIDNIGHT, SECRET, ReportWorld, priced_task

THREE_DAYS = Window(MIDNIGHT, MIDNIGHT + 3 * DAY)
NOW = MIDNIGHT + 3 * DAY + 3600
SECTIONS = {
    *("summary", "over-time", "version", "classes", "confidence", "wrongness", "feedback", "drift", "alarms"),
    *("money", "speed"),
}


class Page(HTMLParser):
    """Checks that tags close as they open, and keeps what matters."""

    VOID = frozenset({"meta", "br", "link", "img", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: dict[str, str] = {}
        self.sections: set[str] = set()
        self.pictures: list[str] = []
        self.text: list[str] = []
        self.tables = self.captions = self.in_boxes = 0
        self._inside: list[str | None] = []
        self._classes: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        for name, value in attrs:
            assert name not in {"src", "href", "srcset", "action"}, "it stands by itself"
            assert "url(" not in (value or "")
            assert not name.startswith("on")
        assert tag not in {"script", "link", "img", "iframe"}
        if tag == "section":
            self.sections.add(found["id"])
        if tag == "svg":
            assert found["role"] == "img"
            self.pictures.append(found["aria-label"])
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.in_boxes += tag == "table" and "scroll" in (self._classes[-1] if self._classes else "")
        if tag not in self.VOID:
            self.open.append(tag)
            self._classes.append(found.get("class") or "")
            self._inside.append(found.get("id"))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self._classes.pop()
        self._inside.pop()

    def handle_data(self, data):
        self.text.append(data)
        if self._inside and self._inside[-1]:
            self.ids[self._inside[-1]] = data.strip()

    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def archive(tmp_path: Path, ledger: Ledger) -> Archive:
    return Archive(str(tmp_path / "archive"), ledger)


@pytest.fixture
def there(ledger: Ledger, archive: Archive) -> ReportWorld:
    """Three days: two good ones, and one on which the student agrees less; feedback on a seventh."""
    world = ReportWorld(ledger, archive)
    for number in range(3):
        traffic = World(number)
        if number == 2:
            traffic.agreement = dict.fromkeys(LABELS, 0.7)
        world.day(number, 800, world=traffic)
    world.feedback(world.exchanges[::7])
    world.snapshot(NOW)
    return world


def report_of(world: ReportWorld, window: Window = THREE_DAYS, version: str = "1", now: float = NOW) -> Report:
    return build(world.settings, world.ledger, world.archive, "desk", version, window, now)


def test_over_a_versions_life_it_says_what_the_monitor_says(there: ReportWorld):
    report, watched = report_of(there), there.state.versions["1"]
    error = there.rules.interval_error
    assert report.agreement == estimate(watched.student.whole, error)
    assert report.served == estimate(watched.served.whole, error)
    assert {line.label: line.agreement for line in report.classes} == {
        label: estimate(watched.classes.get(label), error) for label in LABELS
    }
    assert [band.agreement for band in report.bands] == [estimate(mean, error) for mean in watched.bands.means]
    assert report.calibration.brier == pytest.approx(watched.calibration.brier)
    assert report.calibration.ece[0].value == pytest.approx(ece_of(watched.calibration.reliability()))
    assert report.comparisons == watched.number
    assert report.calibration.expected == pytest.approx(watched.expected.overall())
    assert report.money.saved == pytest.approx(report.by_student * (100 * 2 + 2 * 8) / 1e6)
    assert report.slots[-1].so_far == report.agreement


def test_its_window_counts_nothing_else(there: ReportWorld):
    first, last = (report_of(there, Window(MIDNIGHT + at * DAY, MIDNIGHT + (at + 1) * DAY)) for at in (0, 2))
    for report in (first, last):
        assert report.exchanges == 800 == sum(slot.exchanges for slot in report.slots)
        assert len(report.slots) == 24
        assert sum(slot.agreement.count for slot in report.slots if slot.agreement) == report.comparisons
        assert sum(line.exchanges for line in report.classes) == 800
    assert first.agreement is not None
    assert last.agreement is not None
    assert first.agreement.estimate > 0.88 > 0.8 > last.agreement.estimate
    assert report_of(there).comparisons > first.comparisons + last.comparisons


def test_the_page_says_what_the_data_says(there: ReportWorld):
    there.alarm(MIDNIGHT + 2.3 * DAY)
    there.alarm(MIDNIGHT + 1.2 * DAY, MIDNIGHT + 1.5 * DAY, cause="input_drift", signal="input_drift")
    there.ledger.audit("cli:me", "rollback", "desk", "1", {"reason": SECRET})
    report = report_of(there)
    page, data = Page(render(report)), json.loads(store.as_json(report))
    assert page.sections == SECTIONS
    assert len(page.pictures) == 2
    assert page.tables == page.in_boxes > 8, "tables scroll in a box of their own"
    assert page.captions == page.tables
    assert page.ids["agreement"] == f"{100 * data['agreement']['estimate']:.1f} %"
    assert page.ids["served"] == f"{100 * data['served']['estimate']:.1f} %"
    assert page.ids["accuracy"] == f"{100 * data['feedback']['accuracy']['estimate']:.1f} %"
    assert page.ids["exchanges"] == f"{data['exchanges']:,}"
    assert page.ids["net"] == f"${data['money']['net']:.2f}"
    said = page.said()
    assert data["headline"] == "Worse than it was: student agreement"
    for line in (data["headline"], *data["good"], *data["changed"], *data["done"]):
        assert line in said
    for slot in data["slots"]:
        assert f"{100 * slot['agreement']['lower']:.1f} to {100 * slot['agreement']['upper']:.1f} %" in said
    for one in data["disagreements"]:
        assert one["exchange"] in said
    assert msgspec.json.decode(store.as_json(report), type=Report) == report


def test_it_says_what_is_only_descriptive(there: ReportWorld):
    said = Page(render(report_of(there))).said()
    for what in ("Descriptive: ECE", "F1 (descriptive)", "upstream a second, mean", "(descriptive)"):
        assert what in said
    assert "confidence sequence" in said
    assert said.count("escriptive") >= 7


def test_nothing_of_any_exchange_is_in_it(there: ReportWorld):
    there.alarm(MIDNIGHT + 2.3 * DAY)
    there.alarm(MIDNIGHT + 1.2 * DAY, MIDNIGHT + 1.5 * DAY, cause="input_drift")
    report = report_of(there)
    assert SECRET not in render(report)
    assert SECRET.encode() not in store.as_json(report)
    assert "holds nothing of what was asked or answered" in Page(render(report)).said()


def test_alarms_about_others_and_before_change_no_verdict(there: ReportWorld):
    there.alarm(MIDNIGHT - 3 * DAY, MIDNIGHT - 2 * DAY, cause="served_agreement")
    there.alarm(MIDNIGHT + DAY, version="7")
    report = report_of(there)
    assert (report.state, report.headline) == ("good", "No alarm tripped")
    assert [alarm.version for alarm in report.alarms] == ["7"]
    assert "There were alarms about version 7; they are in the table below." in report.changed
    there.alarm(MIDNIGHT + DAY, MIDNIGHT + 1.5 * DAY)
    assert report_of(there).headline == "There was an alarm, and it is over: student agreement"
    there.alarm(MIDNIGHT + DAY, cause="input_drift")
    assert report_of(there).headline == "An alarm is open: input drift"


def test_runs_are_told_and_paid(there: ReportWorld):
    runs = there.ledger.runs
    assert runs.begin("run_1", "desk", champion="1", step="data", at=MIDNIGHT + DAY, about={})
    assert runs.claim("run_1", "me", at=MIDNIGHT + DAY, stale_before=0)
    run = runs.get("run_1")
    assert run is not None
    assert runs.finish_step(run, "me", {"cost_usd": 1.5}, then="gates", at=MIDNIGHT + 1.1 * DAY)
    run = runs.get("run_1")
    assert run is not None
    assert runs.close(run, "me", RunState.FAILED, verdict="", reason=SECRET, report="", at=MIDNIGHT + 1.2 * DAY)
    report = report_of(there)
    assert [(one.id, one.state, one.dollars) for one in report.runs] == [("run_1", "failed", 1.5)]
    assert SECRET not in render(report)
    assert report.money.runs == 1.5
    assert "Retraining run_1: failed." in report.done
    assert report_of(there, Window(MIDNIGHT + 2 * DAY, MIDNIGHT + 3 * DAY)).runs == []


def test_without_comparisons_feedback_snapshot_or_price_it_says_so_and_why(ledger: Ledger, archive: Archive):
    settings = priced_task()
    teacher = settings.teacher.model_copy(update={"input_price": None, "output_price": None})
    world = ReportWorld(ledger, archive, settings.model_copy(update={"teacher": teacher}))
    exchange, comparison = World().pair(drawn=True)
    assert comparison is not None
    exchange = msgspec.structs.replace(exchange, at=MIDNIGHT + 60)
    comparison = msgspec.structs.replace(comparison, at=MIDNIGHT + 60, outcome=Outcome.TIMED_OUT, teacher_label=None)
    world.put([exchange, comparison])
    report = report_of(world)
    assert (report.state, report.agreement) == ("unknown", None)
    assert "none of the comparisons has the teacher's label (1 timed out)" in report.good[0]
    said = Page(render(report)).said()
    for reason in (
        "Not known: nothing was compared in this window",
        "nobody knows the teacher's price",
        "There was none in this window",
        "the monitor has stored no snapshot of this task yet",
        "watch.drift_window is 0",
        "without the teacher's label came 1 timed out",
    ):
        assert reason in said
    assert report.money.net is None
    assert Page(render(report)).ids["net"] == "not known"


def test_what_no_student_read_counts_with_the_version_that_answered_before(ledger: Ledger, archive: Archive):
    world = ReportWorld(ledger, archive)
    records = []
    for at, (version, canary) in enumerate([("1", ""), (None, ""), ("2", "2"), (None, "2"), (None, ""), ("3", "")]):
        exchange, _ = World(at, version or "1").pair(drawn=False)
        student = exchange.student if version else None
        changes = {"student": student, "canary": canary, "at": MIDNIGHT + at + 1.0}
        if student is None:
            changes |= {"answered_by": Answerer.TEACHER, "reason": Reason.TEMPLATE_MISMATCH, "label": None}
        records.append(msgspec.structs.replace(exchange, **changes))
    world.put(records)
    assert versions_in(archive, ledger, "desk", THREE_DAYS) == {"1": 3, "2": 2, "3": 1}
    report = report_of(world)
    assert (report.by_student, report.by_teacher) == (1, 2)
    assert report.other_versions == {"2": 2, "3": 1}
    assert choose_version(archive, ledger, "desk", THREE_DAYS) == "1"
    world.state.champion = "3"
    world.snapshot(NOW)
    assert choose_version(archive, ledger, "desk", THREE_DAYS) == "3"
    with pytest.raises(DataError, match="there are 1, 2, 3"):
        report_of(world, version="9")
    with pytest.raises(DataError, match="choose another"):
        choose_version(archive, ledger, "desk", Window(0.0, DAY))


def test_feedback_is_the_last_word_by_either_id_and_reviews_alone_are_none(ledger: Ledger, archive: Archive):
    world = ReportWorld(ledger, archive)
    given = []
    for at in range(4):
        exchange, _ = World(at).pair(drawn=False, label="c1")
        given.append(msgspec.structs.replace(exchange, at=MIDNIGHT + at, completion_id=f"chatcmpl-{at}"))
    later = NOW + 30 * DAY

    def says(name: str, label: str, after: float, source: str = "client") -> Feedback:
        return Feedback(mint("fb"), "desk", name, label, later + after, source=source)

    world.put(
        [
            *given,
            says(given[0].id, "c1", 0),
            says("chatcmpl-1", "c1", 0),
            says("chatcmpl-1", "c2", 1),
            says(given[2].id, "c2", 0),
            says(given[2].id, "c1", 1, "review"),
            says(given[3].id, "c2", 0, "review"),
        ]
    )
    feedback = report_of(world).feedback
    assert (feedback.judged, feedback.answers) == (3, 4)
    assert feedback.accuracy is not None
    assert feedback.accuracy.estimate == pytest.approx(2 / 3)
    assert (feedback.least, feedback.most) == (0.5, 0.75)
    (line,) = [one for one in feedback.classes if one.label == "c1"]
    assert line.precision is not None
    assert line.precision.count == 3


def test_a_comparison_that_was_made_twice_counts_once(there: ReportWorld):
    before = report_of(there)
    there.put([msgspec.structs.replace(there.comparisons[5], id=mint("cmp"), compared_at=NOW)])
    after = report_of(there)
    assert (after.comparisons, after.agreement) == (before.comparisons, before.agreement)


def test_of_very_many_a_random_part_stands_for_all(there: ReportWorld):
    archived = Archived(there.archive, there.ledger, "desk", "1", THREE_DAYS)
    every, some = archived.comparisons(THREE_DAYS, 1), archived.comparisons(THREE_DAYS, 3)
    assert {one.exchange for one in some} < {one.exchange for one in every}
    assert 0.2 < len(some) / len(every) < 0.5
    answered = archived.by_teacher(THREE_DAYS, 3)
    cascaded = {one.exchange for one in some if one.served_by is Answerer.TEACHER}
    assert {row["id"] for row in answered} == cascaded, "exchange and comparison are drawn together"
    assert all(one.text is None for one in every)


def test_windows():
    assert last_days(3, NOW) == Window(MIDNIGHT + DAY, MIDNIGHT + 4 * DAY)
    assert THREE_DAYS.name == "2025-06-15--2025-06-17"
    assert finished(24, NOW) == Window(MIDNIGHT + 2 * DAY, MIDNIGHT + 3 * DAY)
    assert finished(6, NOW + 5 * 3600).name == "2025-06-18T0000--2025-06-18T0600"
    first, last = date(2025, 6, 15), date(2025, 6, 17)
    assert days(first, last) == THREE_DAYS
    with pytest.raises(SettingsError, match="swap"):
        days(last, first)
    for window in (THREE_DAYS, finished(24, NOW), finished(5.5, NOW), last_days(365, NOW), finished(168, NOW)):
        count = (window.ended - window.began) / window.slots(48)
        assert 1 <= count <= 48.001


@pytest.mark.parametrize("version", ["1", "a/b", "..", ".", "v 1"])
def test_every_version_has_a_folder_below_its_tasks(tmp_path: Path, version: str):
    settings = Settings(state=tmp_path, tasks={"desk": priced_task()})
    folder = store.folder_of(settings, "desk", version, THREE_DAYS)
    assert folder.resolve().parent.parent == (tmp_path / "reports" / "desk").resolve()


def test_evidentlys_page_stands_by_itself(ledger: Ledger, archive: Archive, tmp_path: Path):
    inputs = Inputs(6)
    settings = Settings(state=tmp_path, tasks={"desk": inputs.settings})
    world = ReportWorld(ledger, archive, inputs.settings)
    inputs.at = MIDNIGHT
    exchanges = [inputs.exchange() for _ in range(1100)]
    comparisons = []
    for exchange in exchanges[::4]:
        _, comparison = World().pair(drawn=True)
        assert comparison is not None
        assert exchange.student is not None
        comparisons.append(
            msgspec.structs.replace(
                comparison, exchange=exchange.id, at=exchange.at, student=exchange.student, teacher_label="c1"
            )
        )
    world.put([*exchanges, *comparisons])
    assert world.state.drift.reference is not None
    world.snapshot(NOW)
    report, page = write_report(settings, ledger, archive, "desk", "1", THREE_DAYS, NOW, evidently=True)
    assert report.evidently is not None
    assert report.evidently.written, report.evidently.why_not
    text = (page.parent / "evidently.html").read_text()
    assert text.count("<iframe") == 2
    assert len(text) > 1_000_000
    assert "default-src 'none'" in text.partition("<iframe")[0]
    assert exchanges[5].text is not None
    assert exchanges[5].text not in text
    assert "evidently.html beside this page" in Page(page.read_text()).said()
    assert "no window has been full yet" in Page(page.read_text()).said()


def test_where_evidently_has_nothing_to_say_it_is_said_why(ledger: Ledger, archive: Archive, tmp_path: Path):
    world = ReportWorld(ledger, archive)
    exchange, _ = World().pair(drawn=False)
    world.put([msgspec.structs.replace(exchange, at=MIDNIGHT)])
    archived = Archived(archive, ledger, "desk", "1", THREE_DAYS)
    told = write_evidently(tmp_path / "e.html", archived, ledger, "desk", "1", THREE_DAYS, world.rules)
    assert "nothing was compared in this window" in told
    assert not (tmp_path / "e.html").exists()
