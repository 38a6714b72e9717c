"""The gateway's own description, and schemathesis, which asks for all that it describes, and for the opposite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from router.dialects import all_dialects
from router.openapi import describe
from tests.router.conftest import Running, run_gateway
from tests.support.errors import assert_error
from tests.support.students import LABELS

FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
Operation = schemathesis.APIOperation[Any, Any, Any, Any]
OPERATIONS: list[Operation] = [
    found.ok()  # type: ignore[union-attr]  # our own description is one
    for found in schemathesis.openapi.from_dict(describe(all_dialects())).get_all_operations()
]
CASES = [
    pytest.param(operation, mode, id=f"{operation.label} {mode.value}")
    for operation in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.method == "post"  # nothing about a GET of ours can be wrong
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[Running]:
    """A gateway whose student and teacher always answer, so that no 5xx is intended."""
    with ExitStack() as stack:
        running = run_gateway(stack, tmp_path_factory.mktemp("openapi"), student_url)
        running.trust(*LABELS)
        yield running


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def test_it_describes_every_address(described: Running):
    document = httpx.get(f"{described.url}/openapi.json").json()
    assert document == describe(all_dialects())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            response = httpx.request(method, described.url + path.replace("{name}", "desk"))
            assert response.status_code in (200, 400), path
            assert str(response.status_code) in operation["responses"]


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_what_it_describes_is_so(
    described: Running, session: requests.Session, operation: Operation, mode: GenerationMode
):
    @FUZZ
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        case: schemathesis.Case[Any] = data.draw(operation.as_strategy(generation_mode=mode))
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and data.draw(st.booleans()):
            case.body["model"] = "desk"  # another is a 404, however good the rest may be
        response = case.call(base_url=described.url, session=session)
        # Not all that fits the description is good: a label must be one of the task's, a count must not be 1.0.
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        if response.status_code >= 400:
            assert_error(response.content)
            assert response.headers["x-request-id"]

    ask()
