"""Where the numbers of the books come from."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from core.archive import Archive
from core.errors import SettingsError, StateError
from core.ledger import Ledger, RunState
from core.settings import TaskSettings
from monitoring.power import DAYS_A_MONTH
from tests.support import accounted_traffic as traffic
from training.economics import Found, Given, assemble, bill_of, break_even, cautions_of, simple_break_even
from training.economics.accounted import Accounted, Retrainings, count_labels, read_accounted, read_retrainings

HOSTED = Given(queries=1_000_000, input_tokens=500, output_tokens=200, teacher="gpt-4o", student="gpt-4o-mini")


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def archive(tmp_path, ledger):
    return Archive(str(tmp_path / "archive"), ledger)


def task(**teacher) -> TaskSettings:
    given = {"base_url": "https://api.openai.com/v1", "model": "gpt-4o", "data_may_leave": True} | teacher
    return TaskSettings.model_validate({"labels": ["a", "b"], "teacher": given})


def test_gpt_4o_against_gpt_4o_mini():
    bill, case = bill_of(assemble(HOSTED).books()), assemble(HOSTED)
    assert bill.teacher_alone == pytest.approx(3250)
    assert bill.student == pytest.approx(195)
    assert case.teacher.usd.value / case.student.usd.value == pytest.approx(16.7, abs=0.05)
    assert case.teacher.price is not None
    assert (case.teacher.price.input_price, case.teacher.price.output_price) == pytest.approx((2.5, 10.0))
    assert simple_break_even(case.books()).saving_usd == pytest.approx(3055)
    assert 0 < break_even(case.books()).saving_usd < 3055


def test_what_is_said_wins_and_says_so():
    case = assemble(replace(HOSTED, fallback=0.1, hosting_usd=7, teacher_price=(1.0, 2.0)))
    assert (case.fallback.value, case.fallback.source) == (0.1, "--fallback")
    assert (case.hosting.value, case.hosting.source) == (7, "--hosting-usd")
    assert case.teacher.usd.value == pytest.approx((500 * 1 + 200 * 2) / 1e6)


def test_a_student_of_our_own_costs_its_hosting():
    case = assemble(replace(HOSTED, student=None))
    assert case.student.usd.value == 0
    assert case.hosting.value > 0
    assert case.hosting.source == "assumed"


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (replace(HOSTED, queries=None), "--queries"),
        (replace(HOSTED, teacher=None), "--teacher"),
        (replace(HOSTED, teacher="nobody-knows"), "--teacher-price"),
        (replace(HOSTED, student="nobody-knows"), "--student-price"),
    ],
)
def test_what_may_not_be_assumed_is_asked_for(given, option):
    with pytest.raises(SettingsError, match=option):
        assemble(given)


def test_too_little_volume_is_said():
    assert not any("are few" in told for told in cautions_of(assemble(HOSTED)))
    assert any("99,999 queries" in told for told in cautions_of(assemble(replace(HOSTED, queries=99_999))))
    assert not any("are few" in told for told in cautions_of(assemble(replace(HOSTED, queries=100_000))))


def test_never_is_said_with_what_would_help():
    small = assemble(replace(HOSTED, student=None, queries=5_000))
    assert "never pays; from about" in cautions_of(small)[0]
    free = assemble(replace(HOSTED, teacher_price=(0.0, 0.0)))
    assert "costs nothing" in cautions_of(free)[0]
    dearer = assemble(replace(HOSTED, student_price=(5.0, 20.0)))
    assert "no volume pays" in cautions_of(dearer)[0]


def test_accounted_traffic(archive, ledger):
    end = time.time() - 60
    traffic.archive_traffic(archive, "desk", end)
    seen = read_accounted(archive, "desk", end - 30 * 86_400)
    assert seen.exchanges == 1000
    assert seen.days == pytest.approx(10, rel=1e-6)
    assert seen.queries == pytest.approx(1000 / 10 * DAYS_A_MONTH)
    assert (seen.input_tokens, seen.output_tokens) == (500, 200)
    assert seen.teacher_usd == pytest.approx(traffic.CALL_USD)
    assert seen.teacher_ms == 800
    assert seen.fallback == pytest.approx(200 / 800), "what came before there was a student is no fallback"
    assert seen.shadow == pytest.approx(150 / 600)
    assert seen.repeat == pytest.approx(35 / 350)
    case = assemble(Given(), Found("desk", task(), seen, read_retrainings(ledger, "desk"), 1234))
    assert case.queries.source.startswith("accounted, 1,000 exchanges in 10.0 days")
    assert case.teacher.usd.value == pytest.approx(traffic.CALL_USD)
    assert (case.labels.value, case.labels.source) == (1234, "labelled so far")
    assert case.books().distillation_usd == pytest.approx(1234 * traffic.CALL_USD)


def test_only_the_days_that_are_asked_for(archive):
    end = time.time() - 60
    traffic.archive_traffic(archive, "desk", end)
    seen = read_accounted(archive, "desk", end - 2 * 86_400)
    assert 150 < seen.exchanges < 250
    assert seen.queries == pytest.approx(1000 / 10 * DAYS_A_MONTH, rel=0.02)
    assert seen.shadow is None or seen.shadow < 0.25, "the drawn ones are older"


def test_nothing_is_said_of_no_traffic(archive):
    assert read_accounted(archive, "desk", 0.0) == Accounted()
    with pytest.raises(SettingsError, match="--queries"):
        assemble(Given(), Found("desk", task()))


def test_an_archive_that_is_away(archive, tmp_path):
    traffic.archive_traffic(archive, "desk", time.time())
    for file in (tmp_path / "archive").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(StateError, match="cannot be read"):
        read_accounted(archive, "desk", 0.0)


def test_another_teacher_for_measured_traffic():
    seen = Accounted(exchanges=1000, days=3, queries=2e6, input_tokens=500, output_tokens=200, teacher_usd=0.001)
    case = assemble(Given(teacher="gpt-4o-mini"), Found("desk", task(), seen))
    assert case.teacher.usd.value == pytest.approx(0.000195), "what its own teacher cost says nothing of another"
    assert case.queries.value == 2e6


def test_a_price_that_nobody_knew_is_not_nothing():
    seen = Accounted(exchanges=1000, days=3, queries=2e6, input_tokens=500, output_tokens=200, teacher_usd=0.0)
    case = assemble(Given(), Found("desk", task(), seen))
    assert case.teacher.usd.value == pytest.approx(0.00325)
    with pytest.raises(SettingsError, match="--teacher-price"):
        assemble(Given(), Found("desk", task(model="our-finetune"), seen))


def test_settings_speak_where_nothing_was_measured():
    settings = task()
    case = assemble(Given(queries=1e6), Found("desk", settings))
    assert (case.shadow.value, case.shadow.source) == (settings.shadow.floor, "shadow.floor")
    assert case.retraining.value == pytest.approx(min(2000 * case.teacher.usd.value, 5.0))
    assert case.golden.value == pytest.approx(200 * case.teacher.usd.value * DAYS_A_MONTH)
    private = assemble(Given(queries=1e6), Found("desk", task(data_may_leave=False)))
    assert private.golden.value == 0


def test_runs_of_the_ledger(ledger):
    begun = time.time() - 90 * 86_400
    for number in range(3):
        name, at = f"run_{number}", begun + number * 30 * 86_400
        assert ledger.runs.begin(name, "desk", champion="1", step="data", at=at, about={})
        assert ledger.runs.claim(name, "me", at=at, stale_before=at)
        run = ledger.runs.get(name)
        assert run is not None
        assert ledger.runs.finish_step(run, "me", {"cost_usd": float(number)}, then="candidate", at=at)
        run = ledger.runs.get(name)
        assert run is not None
        assert ledger.runs.close(run, "me", RunState.REFUSED, verdict="refused", reason="", report="", at=at)
    assert read_retrainings(ledger, "desk") == Retrainings(3, 1.0, pytest.approx(30 / DAYS_A_MONTH))
    assert read_retrainings(ledger, "mail") == Retrainings()


def test_labelled_prompts_are_counted(tmp_path):
    assert count_labels(tmp_path / "none.jsonl") is None
    (tmp_path / "some.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    assert count_labels(tmp_path / "some.jsonl") == 2
    with pytest.raises(StateError):
        count_labels(tmp_path)
