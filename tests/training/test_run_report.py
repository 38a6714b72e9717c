"""The page that a person reads: complete, and harmless whatever it is told."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from training.canary import Side
from training.compare import Limits, Pairs, compare
from training.gates import judge
from training.runs.picture import draw_differences
from training.runs.report import ClassLine, Report, render
from training.runs.results import About, CanaryResult, CandidateResult, DataResult, TrafficResult, TrialResult

EVIL = '<script>alert("x")</script>'
LABELS = ["order", EVIL, "praise"]
LIMITS = Limits(0.02, 0.05, 0.1, 10.0, 10.0)


def _gates(count=300):
    answers = np.arange(count) % 3
    champion = np.arange(count) % 4 != 0
    candidate = champion & (answers != 1)
    recent = np.arange(count) % 2 == 0
    pairs = Pairs(champion, candidate, answers, {"recent traffic": recent, "older data": ~recent}, np.ones(count))
    spread = np.full((count, 3), 1 / 3, dtype=np.float32)
    figures = {"latency_ms": 1.0, "champion_latency_ms": 1.0, "size_mb": 1.0}
    return judge(compare(pairs, LABELS, LIMITS), spread, spread, answers, LIMITS, golden={EVIL: False}, **figures)


def _report(**changes):
    gates = _gates()
    lines = [
        ClassLine(
            r.label,
            r.texts,
            r.champion / r.texts,
            r.candidate / r.texts,
            0.1,
            r.worse_p,
            None,
            r.hurt,
            True,
            True,
            True,
        )
        for r in gates.paired.classes
    ]
    given = {
        "run": "run_1",
        "task": "desk",
        "state": "refused",
        "headline": "Refused",
        "reason": [refusal.text for refusal in gates.refusals],
        "hurt": gates.paired.hurt,
        "champion": "1",
        "candidate": "2",
        "started": 0.0,
        "ended": 60.0,
        "about": About("trainer", 0.0, [EVIL], ["alarm_1"], EVIL),
        "traffic": TrafficResult(1900, 2000, 24.0),
        "data": DataResult("ab", 900, 600, 0, 300, 300, 150, {EVIL: 3}, 5, 0.5, "run_1", [EVIL]),
        "trained": CandidateResult("ngram", 0, 1.0, 0.9, 3, {}),
        "gates": gates,
        "trial": TrialResult("complete", 300, 1.0, 200, 0.2, gates.paired, []),
        "canary": CanaryResult("complete", 0.05, 1.5, Side(200, 3, 2), Side(3800, 7, 6), 1.25),
        "classes": lines,
        "class_fdr": 0.1,
        "teacher_calls": 205,
        "cost_usd": 0.7,
        "next": ["nothing"],
    }
    return Report(**given | changes)


def test_the_page_says_why_and_whom_it_would_hurt():
    page = render(_report())
    assert "It would hurt 1 of 3 classes" in page
    assert "Trial on live traffic" in page
    assert page.count('class="tag hurt"') == 1
    assert "205" in page
    assert "5 % of users for 1.50 hours, ended: complete; it failed 3 of 200 requests" in page


def test_nothing_in_it_is_taken_for_markup_and_nothing_is_fetched():
    page = render(_report())
    assert EVIL not in page
    assert len(re.findall("<script", page)) == 1
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    "missing",
    [
        ("canary",),
        ("canary", "trial"),
        ("canary", "trial", "gates"),
        ("canary", "trial", "gates", "trained"),
        ("canary", "trial", "gates", "trained", "data"),
    ],
)
def test_a_run_that_did_not_come_far_has_a_page_too(missing):
    report = _report(**dict.fromkeys(missing), **({"classes": []} if "gates" in missing else {}))
    page = render(report)
    assert "What happens next" in page
    assert ("Candidate against champion" in page) is ("gates" not in missing)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_the_picture_holds_every_interval():
    picture = draw_differences({"Hold-out": _gates().paired})
    assert picture is not None
    for bar in picture.groups["Hold-out"]:
        assert 0 <= bar.low <= bar.point <= bar.high <= 100
    assert picture.margin < 50
    assert draw_differences({}) is None
