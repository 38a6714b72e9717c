from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks._report import Claim, conclude
from benchmarks._timing import CpuTimes, cpu_times
from benchmarks.distil import Task, pigeonhole_interval, run_seed
from core.models.folder import load_student
from tests.support.desk import INTENTS, messages
from tests.support.students import write_student


def test_one_seed_end_to_end(tmp_path):
    """The teacher here reads vectors that tell the intents apart, so student and teacher are both nearly right."""
    names = tuple(INTENTS)
    rng = np.random.default_rng(0)

    def part(count, seed):
        rows = messages(count, seed)
        gold = np.array([names.index(intent) for _, intent in rows])
        vectors = np.eye(8, dtype=np.float32)[gold] + rng.normal(scale=0.1, size=(count, 8)).astype(np.float32)
        return [text for text, _ in rows], gold, vectors

    train, test = part(400, 0), part(60, 1)
    task = Task(names, *train, *test, np.ones(60, dtype=bool))
    result = run_seed(task, 0, tmp_path / "student")
    assert result.teacher.mean() > 0.95
    assert result.student.mean() > 0.9
    assert result.gold_only.shape == (60,)
    assert load_student(result.folder).card.seed == 0


def test_the_interval_covers_what_it_should():
    rng = np.random.default_rng(1)
    low, high = pigeonhole_interval(rng.normal(0.5, 1.0, size=(5, 800)), draws=2000)
    assert low < 0.5 < high
    assert high - low < 0.5
    constant = pigeonhole_interval(np.full((3, 10), 2.0), draws=1000)
    assert constant == pytest.approx((2.0, 2.0))


def test_seeds_that_differ_widen_the_interval():
    texts = np.random.default_rng(2).normal(size=(1, 500))
    low, high = pigeonhole_interval(texts + np.array([[-3.0], [0.0], [3.0]]), draws=2000)
    assert high - low > 3


@pytest.mark.parametrize(("bound", "code", "word"), [(1.0, 0, "HELD"), (3.0, 1, "FAILED"), (None, 0, "HELD")])
def test_a_judged_claim_decides_the_exit_code(tmp_path, capsys, bound, code, word):
    claims = [Claim("it is enough", 2.0, bound, 5.0, " points")]
    assert conclude("demo", claims, {"figures": [1, 2]}, "two points", tmp_path / "out" / "demo.json") == code
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith(f"demo: {word}")
    assert ("not judged in quick" in "\n".join(lines)) == (bound is None)
    written = json.loads((tmp_path / "out" / "demo.json").read_bytes())
    assert written["claims"][0]["holds"] is (None if bound is None else bound <= 2.0)
    assert written["figures"] == [1, 2]


def test_cpu_time_is_measured_for_whatever_answers(tmp_path):
    student = load_student(write_student(tmp_path / "student"))
    times = cpu_times(student, [text for text, _ in messages(100)], least_seconds=0.02)
    assert isinstance(times, CpuTimes)
    assert times.single_us > times.batch_us > 0
