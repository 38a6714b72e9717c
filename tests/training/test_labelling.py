from __future__ import annotations

import asyncio
import time

import pytest

from core.budget import worst_case
from core.errors import BudgetExceededError, DataError, PermissionDeniedError, TeacherError, TeacherTimeoutError
from core.labels import LabelSet
from core.prices import Price
from core.settings import TeacherSettings
from tests.support.labelling_teacher import CUES, LabellingTeacher
from tests.support.processes import asgi_server
from training.answers import AnswerCache, answer_key
from training.labelling import estimate, label

LABELS = LabelSet(CUES)
TEXTS = ["where is my parcel", "give me my money", "thanks a lot", "where is my parcel"]


@pytest.fixture
def app():
    return LabellingTeacher()


@pytest.fixture
def address(app):
    with asgi_server(app) as url:
        yield url


def _teacher(address, **changes):
    given = {
        "base_url": f"{address}/v1",
        "model": "m",
        "may_train": True,
        "data_may_leave": True,
        "input_price": 1.0,
        "output_price": 2.0,
        "max_concurrency": 4,
    }
    return TeacherSettings(**(given | changes))


class _Pauses(list[float]):
    """Sleeps of the labelling, noted instead of slept."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def _label(tmp_path, teacher, texts=TEXTS, pauses=None, **options):
    with AnswerCache(tmp_path / "answers.jsonl") as cache:
        return asyncio.run(
            label(
                texts, LABELS, teacher, cache, task="desk", sleep=pauses if pauses is not None else _Pauses(), **options
            )
        )


def test_each_text_is_asked_once_and_answers_keep_the_order(tmp_path, app, address):
    steps = []
    done = _label(tmp_path, _teacher(address), report=lambda progress: steps.append((progress.done, progress.total)))
    assert [answer.label for answer in done.answers if answer] == ["order", "refund", "praise", "order"]
    assert sorted(app.texts) == sorted(set(TEXTS))
    assert steps[0] == (0, 3)
    assert steps[-1] == (3, 3)
    assert done.spent_usd == pytest.approx(3 * (10 * 1.0 + 1 * 2.0) / 1e6)
    assert app.requests[0]["max_completion_tokens"] > 0


def test_a_second_run_goes_on_where_the_first_was_stopped(tmp_path, app, address):
    teacher = _teacher(address)
    _label(tmp_path, teacher, TEXTS[:2])
    path = tmp_path / "answers.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": "half a li')  # killed in the middle of a line
    done = _label(tmp_path, teacher)
    assert (done.asked, done.cached) == (1, 2)
    assert len(app.requests) == 3
    assert all(line.endswith(b"}\n") for line in path.read_bytes().splitlines(keepends=True))
    assert _label(tmp_path, teacher).asked == 0


def test_another_question_is_asked_anew(tmp_path, app, address):
    _label(tmp_path, _teacher(address))
    _label(tmp_path, _teacher(address, model="another"))
    assert len(app.requests) == 6
    teacher = _teacher(address)
    assert answer_key("x", LABELS, teacher) != answer_key("x", LabelSet([*LABELS.names, "new"]), teacher)


def test_a_damaged_line_is_an_error_that_names_it(tmp_path):
    (tmp_path / "answers.jsonl").write_text("rubbish\n", encoding="utf-8")
    with pytest.raises(DataError, match="row 1: is damaged"), AnswerCache(tmp_path / "answers.jsonl"):
        pass


def test_concurrency_is_bounded(tmp_path, app, address):
    app.pause = 0.05
    _label(tmp_path, _teacher(address, max_concurrency=3), [f"parcel {i}" for i in range(12)])
    assert app.most_under_way == 3


@pytest.mark.parametrize("setting", ["may_train", "data_may_leave"])
def test_without_permission_nothing_is_sent(tmp_path, app, address, setting):
    with pytest.raises(PermissionDeniedError, match=rf"tasks\.desk\.teacher\.{setting}"):
        _label(tmp_path, _teacher(address, **{setting: False}))
    assert not app.requests


def test_the_budget_is_never_exceeded_and_what_was_answered_is_kept(tmp_path, app, address):
    # The teacher counts every byte as a token, so that calls cost nearly what was set aside for them.
    app.usage = {"prompt_tokens": 180, "completion_tokens": 20}
    teacher = _teacher(address)
    texts = [f"parcel number {i}" for i in range(40)]
    budget = 12 * (180 * 1.0 + 20 * 2.0) / 1e6
    with pytest.raises(BudgetExceededError, match="larger --budget"):
        _label(tmp_path, teacher, texts, budget_usd=budget)
    assert 8 <= len(app.requests) <= 12
    with AnswerCache(tmp_path / "answers.jsonl") as cache:
        kept = [text for text in texts if cache.get(answer_key(text, LABELS, teacher))]
    assert len(kept) == len(app.requests)
    rest = _label(tmp_path, teacher, texts, budget_usd=1.0)
    assert (rest.cached, rest.asked) == (len(kept), 40 - len(kept))


def test_cheap_answers_free_what_was_set_aside(tmp_path, app, address):
    teacher = _teacher(address, max_concurrency=8)
    texts = [f"parcel number {i}" for i in range(30)]
    with AnswerCache(tmp_path / "other.jsonl") as cache:
        needed = estimate(texts, LABELS, teacher, cache)
    done = _label(tmp_path, teacher, texts, budget_usd=needed.worst_usd / 10)
    assert done.asked == 30
    assert done.spent_usd < needed.worst_usd / 10


def test_an_answer_that_does_not_say_what_it_used_counts_at_its_worst(tmp_path, app, address):
    app.usage = None
    done = _label(tmp_path, _teacher(address), TEXTS[:1])
    body_cost = worst_case(b"x" * 100, 10, Price(1.0, 2.0, ""))
    assert done.spent_usd > body_cost


def test_the_estimate_counts_what_is_left(tmp_path, app, address):
    teacher = _teacher(address)
    _label(tmp_path, teacher, TEXTS[:1])
    with AnswerCache(tmp_path / "answers.jsonl") as cache:
        needed = estimate(TEXTS, LABELS, teacher, cache)
        assert (needed.texts, needed.cached, needed.calls) == (3, 1, 2)
        assert 0 < needed.expected_usd < needed.worst_usd
        unknown = _teacher(address, input_price=None, output_price=None, model="nobody-knows-it")
        with pytest.raises(TeacherError, match=r"teacher\.input_price"):
            estimate(TEXTS, LABELS, unknown, cache)


def test_overload_is_waited_out_as_long_as_the_teacher_asks(tmp_path, app, address):
    error = {"error": {"message": "slow down"}}
    app.script = [(429, {"retry-after": "3"}, error), (503, {"retry-after-ms": "1500"}, error), (500, {}, error)]
    pauses = _Pauses()
    done = _label(tmp_path, _teacher(address, max_concurrency=1), TEXTS[:1], pauses)
    assert done.asked == 1
    assert pauses[:2] == [3.0, 1.5]
    assert 1.0 <= pauses[2] <= 2.0


def test_a_date_is_a_retry_after_too(tmp_path, app, address):
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    app.script = [(503, {"retry-after": date}, {}), (503, {"retry-after": "soon"}, {})]
    pauses = _Pauses()
    _label(tmp_path, _teacher(address, max_concurrency=1), TEXTS[:1], pauses)
    assert 55 < pauses[0] <= 60
    assert pauses[1] < 5


def test_a_teacher_that_keeps_failing_ends_it_with_its_reason(tmp_path, app, address):
    app.script = [(500, {}, {"error": {"message": "out of\n memory"}})] * 6
    with pytest.raises(TeacherError, match="failed 6 times in a row: 500 out of memory; what it answered is kept"):
        _label(tmp_path, _teacher(address), TEXTS[:1])


def test_a_teacher_that_is_not_there(tmp_path, free_port):
    with pytest.raises(TeacherError, match="failed 6 times in a row: Connect"):
        _label(tmp_path, _teacher(f"http://127.0.0.1:{free_port}"), TEXTS[:1])


def test_a_refusal_is_not_tried_again(tmp_path, app, address, monkeypatch):
    monkeypatch.setenv("DESK_KEY", "s3cret")
    app.script = [(401, {}, {"error": {"message": "bad key"}})]
    with pytest.raises(TeacherError, match="refused: 401 bad key; check the key in DESK_KEY") as caught:
        _label(tmp_path, _teacher(address, api_key_env="DESK_KEY"), TEXTS[:1])
    assert len(app.requests) == 1
    assert app.authorization == {"Bearer s3cret"}
    assert "s3cret" not in str(caught.value)


def test_a_missing_key_is_named(tmp_path, address, monkeypatch):
    monkeypatch.delenv("DESK_KEY", raising=False)
    with pytest.raises(TeacherError, match="DESK_KEY is not set"):
        _label(tmp_path, _teacher(address, api_key_env="DESK_KEY"))


def test_logprobs_give_a_distribution_and_without_them_answers_are_votes(tmp_path, app, address):
    app.with_logprobs = True
    first = _label(tmp_path, _teacher(address), TEXTS[:1]).answers[0]
    assert first is not None
    assert first.method == "logprobs"
    assert first.distribution["order"] > 0.8
    app.refuses_logprobs = True
    again = _label(tmp_path, _teacher(address, model="other"), TEXTS[:2]).answers
    assert [answer.method for answer in again if answer] == ["vote", "vote"]


def test_answers_that_are_no_label_are_counted_and_not_asked_for_again(tmp_path, app, address):
    done = _label(tmp_path, _teacher(address), ["hm", "thanks"])
    assert done.unreadable == 1
    assert done.answers[0] is None
    assert done.sample == "I cannot say"
    assert _label(tmp_path, _teacher(address), ["hm", "thanks"]).asked == 0


def test_an_account_without_credit_is_not_asked_again(tmp_path, app, address):
    error = {"error": {"message": "you exceeded your quota", "code": "insufficient_quota"}}
    app.script = [(429, {}, error)]
    with pytest.raises(BudgetExceededError, match="no credit left: 429 you exceeded your quota; top it up"):
        _label(tmp_path, _teacher(address), TEXTS[:1])
    assert len(app.requests) == 1


def test_a_teacher_that_is_too_slow_is_told_from_one_that_fails(tmp_path, app, address):
    app.pause = 5.0
    with pytest.raises(TeacherTimeoutError, match="failed 6 times in a row: ReadTimeout"):
        _label(tmp_path, _teacher(address, timeouts={"read": 0.05}), TEXTS[:1])
