"""Asking for an answer that no cache has kept, whatever the endpoint takes."""

from __future__ import annotations

from typing import Any

import pytest

from core.asking import Asker, open_client
from core.budget import Budget
from core.labels import LabelSet
from core.prices import Price
from core.settings import TeacherSettings
from tests.support.labelling_teacher import CUES, LabellingTeacher
from tests.support.processes import asgi_server

_FREE = Price(0.0, 0.0, "a test")


def refusal(field: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    return 422, {}, {"error": {"message": f"extra inputs are not permitted: {field}"}}


async def ask(teacher: LabellingTeacher, *seeds: int | None) -> list[str | None]:
    with asgi_server(teacher) as url:
        settings = TeacherSettings(base_url=f"{url}/v1", model="big")
        async with open_client(settings) as client:
            asker = Asker(client, LabelSet(CUES), settings, _FREE, Budget(None))
            return [(await asker.ask("where is my parcel", fresh=seed)).label for seed in seeds]


async def test_a_fresh_answer_is_asked_for_with_a_seed_of_its_own():
    teacher = LabellingTeacher()
    assert await ask(teacher, None, 5, 6) == ["order"] * 3
    assert [request.get("seed") for request in teacher.requests] == [None, 5, 6]
    assert [head.get("cache-control") for head in teacher.headers] == [None, "no-cache", "no-cache"]


@pytest.mark.parametrize("order", [("seed", "logprobs"), ("logprobs", "seed")])
async def test_an_endpoint_that_takes_no_seed_is_asked_without_one_from_then_on(order):
    teacher = LabellingTeacher(script=[refusal(field) for field in order])
    assert await ask(teacher, 5, 6) == ["order"] * 2
    assert len(teacher.requests) == 4
    for request, head in zip(teacher.requests[2:], teacher.headers[2:], strict=True):
        assert "seed" not in request
        assert "logprobs" not in request
        assert head["cache-control"] == "no-cache"
