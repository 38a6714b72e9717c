"""A teacher that is an LLM: it is shown the labels under numbers, and its answer goes out as a label."""

import math
from contextlib import ExitStack

import pytest

from core.labels import unpack_floats
from core.records import Answerer
from tests.router.conftest import run_gateway
from tests.router.test_errors import assert_shape
from tests.support.students import LABELS


@pytest.fixture
def gateway(tmp_path, student_url):
    with ExitStack() as stack:
        running = run_gateway(
            stack, tmp_path, student_url, teacher={"ask": "choose", "instructions": "Sort the message."}
        )
        running.teacher.label = "2"
        yield running


def test_it_is_asked_among_numbers_and_answers_with_a_label(gateway):
    gateway.teacher.logprobs = {"2": math.log(0.7), " 0": math.log(0.2), "the": math.log(0.1)}
    answer = gateway.ask("hello there", logprobs=True, top_logprobs=5)
    body = answer.json()
    assert body["choices"][0]["message"]["content"] == LABELS[2]
    assert body["id"] == answer.headers["x-tutelage-exchange"]
    tops = {
        top["token"]: math.exp(top["logprob"]) for top in body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    }
    assert tops == {LABELS[2]: pytest.approx(0.7), LABELS[0]: pytest.approx(0.2)}
    (asked,) = gateway.teacher.requests
    system, user = asked["messages"]
    assert system["content"].startswith("Sort the message.")
    assert all(f"{number}: {label}" in system["content"] for number, label in enumerate(LABELS))
    assert user == {"role": "user", "content": "hello there"}
    (record,) = gateway.records()
    assert (record.answered_by, record.label, record.output) == (Answerer.TEACHER, LABELS[2], LABELS[2])
    assert record.usage.prompt_tokens == 7
    assert unpack_floats(record.teacher_distribution) == pytest.approx(
        [0.2, 0.0, 0.7, *[0.0] * (len(LABELS) - 3)], abs=1e-3
    )


def test_it_streams_as_a_label(gateway):
    stream = gateway.client.chat.completions.create(
        model="desk", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == LABELS[2]
    assert gateway.records()[0].streamed


def test_an_answer_that_is_no_label_is_a_502(gateway):
    gateway.teacher.label = "17"
    assert_shape(gateway.ask("hello"), 502, "upstream_error")
    assert gateway.records()[0].answered_by is Answerer.NOBODY


def test_what_fits_no_template_is_forwarded_as_it_is(gateway):
    gateway.teacher.label = "a poem"
    answer = gateway.ask("hello", n=2)
    assert answer.json()["choices"][0]["message"]["content"] == "a poem"
    assert gateway.teacher.requests[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_a_teacher_that_reads_texts_is_asked_about_the_text_under_any_prompt(tmp_path, student_url):
    prompt = [{"role": "system", "content": "Classify."}, {"role": "user", "content": "{text}"}]
    plain = [{"role": "user", "content": "{text}"}]
    task = {"templates": [{"name": "plain", "messages": plain}, {"name": "prompted", "messages": prompt}]}
    with ExitStack() as stack:
        probe = {"linear_probe": {"encoder": "none", "examples": []}}
        gateway = run_gateway(stack, tmp_path, student_url, teacher=probe, task=task)
        messages = [{"role": "system", "content": "Classify."}, {"role": "user", "content": "a refund please"}]
        answer = gateway.ask("", messages=messages)
        assert answer.json()["choices"][0]["message"]["content"] == gateway.teacher.label
        assert gateway.teacher.requests[0]["messages"] == [{"role": "user", "content": "a refund please"}]
