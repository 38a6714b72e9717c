"""From which confidence on a version may answer: judged with its trust, and written down beside it."""

from __future__ import annotations

import numpy as np

from core.ledger import Ledger
from core.settings import TrustSettings
from tests.support import desk
from training.cascade import describe, judge_threshold
from training.distil import distil
from training.register import write_trust
from training.trust import judge_answers

LABELS = desk.task().label_set()
TARGET = TrustSettings(target_agreement=0.9)


def _answers(count=1500, seed=0):
    """Confidences, labels, and the teacher's: agreement is the confidence, but of the last class it is always wrong."""
    rng = np.random.default_rng(seed)
    confidence = (0.5 + 0.5 * rng.beta(3, 1, size=count)).astype(np.float32)
    predicted = rng.integers(0, 3, size=count)
    agreed = (rng.random(count) < confidence) & (predicted != 2)
    return confidence, predicted, np.where(agreed, predicted, (predicted + 1) % 3)


def test_what_clients_would_receive_is_what_counts():
    confidence, predicted, answers = _answers()
    verdicts = judge_answers(confidence, predicted, answers, LABELS, TARGET)
    assert [verdict.trusted for verdict in verdicts] == [True, True, False]
    chosen = judge_threshold(confidence, predicted, answers, verdicts, TARGET)
    assert chosen.examples == int((predicted != 2).sum()), "what it is not trusted with is not given"
    assert 0.5 < chosen.confidence < 0.95
    assert chosen.lower >= 0.9
    assert "0.9 is asked for" in describe(chosen)
    assert judge_threshold(confidence, predicted, answers, verdicts, TrustSettings()) is None


def test_where_nothing_is_shown_the_evidence_says_so():
    confidence, predicted, answers = _answers(60)
    strict = TrustSettings(target_agreement=0.99)
    verdicts = judge_answers(confidence, predicted, answers, LABELS, strict)
    chosen = judge_threshold(confidence, predicted, answers, verdicts, strict)
    assert chosen.confidence is None
    assert describe(chosen).startswith("no confidence is shown to reach 0.99")


def test_a_student_is_distilled_with_its_threshold(tmp_path):
    task = desk.task(trust={"target_agreement": 0.8}, distil={"epochs": 8})
    result = distil("desk", task, desk.labelled(600), tmp_path / "student")
    assert result.threshold.confidence == 0.5
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    write_trust(ledger, "desk", "1", result.verdicts, result.threshold)
    row = ledger.thresholds.get("desk", "1")
    assert (row.confidence, row.target) == (0.5, 0.8)
    assert "held-out answers agree with the teacher" in row.evidence
    write_trust(ledger, "desk", "1", result.verdicts, None)
    assert ledger.thresholds.get("desk", "1") is None
    assert len(ledger.trust("desk", "1")) == 3
    ledger.close()
