"""`docs/metrics.md` names every series that a role exposes, with its type, labels and meaning, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import metrics_page

ROOT = Path(__file__).resolve().parents[1]
_NAMED = re.compile(r'(?:gauge|counter|histogram)\(\s*"(\w+)"|^ +"([a-z_0-9]+)": \($', re.MULTILINE)


@pytest.fixture(scope="module")
def page() -> str:
    return metrics_page.page()


def test_the_page_is_what_the_roles_expose(page):
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert written == page, "run `python -m tests.support.metrics_page > docs/metrics.md`"


def test_nothing_that_the_monitor_draws_is_left_out_of_the_page(page):
    modules = (ROOT / "monitoring" / "metrics").glob("*.py")
    named = {name for module in modules for pair in _NAMED.findall(module.read_text()) for name in pair if name}
    assert len(named) > 50
    assert {name for name in named if f"`tutelage_monitor_{name}`" not in page} == set()


def test_every_series_says_what_it_means(page):
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert all(row.rstrip(" |").endswith(".") for row in rows)
    names = [row.split("`")[1] for row in rows]
    assert len(names) == len(set(names))
    assert all(name.startswith(("tutelage_", "process_")) for name in names)
