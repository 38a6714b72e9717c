"""The one shape of errors, as every test of it asserts it."""

from __future__ import annotations

import json
import re
from typing import Any

_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def assert_error(body: bytes) -> dict[str, Any]:
    """Assert that this is OpenAI's error and nothing else, and return what it says."""
    document = json.loads(body)
    assert set(document) == {"error"}, document
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert error["type"]
    assert isinstance(error["param"], str | None)
    assert isinstance(error["code"], str | None)
    assert b"Traceback" not in body
    assert b'File "' not in body
    return error


def assert_refusal(status: int, headers: Any, body: bytes) -> dict[str, Any]:
    """Assert that a whole answer is an error with all that every error has, and return what it says."""
    assert 400 <= status < 600, (status, body)
    assert headers["content-type"] == "application/json"
    assert _SANE.fullmatch(headers["x-request-id"])
    return assert_error(body)
