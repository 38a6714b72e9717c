from __future__ import annotations

import msgspec
import numpy as np
import pytest

from core.errors import DataError, SettingsError
from core.models.folder import load_student
from tests.support.desk import INTENTS, labelled, messages, task
from tests.support.encoders import write_encoder
from training.distil import distil
from training.evaluation import evaluate
from training.examples import Example
from training.progress import Progress


def test_the_whole_recipe(tmp_path):
    steps: list[Progress] = []
    result = distil("desk", task(), labelled(600), tmp_path / "student", report=steps.append)
    student = load_student(result.folder)
    assert student.card == result.card
    assert result.evaluation.agreement > 0.95
    assert result.evaluation.ece < 0.1
    assert all(verdict.trusted for verdict in result.verdicts)
    assert [step.stage for step in steps if step.done == step.total] == ["train", "calibrate"]
    card = result.card
    assert card.data["train"] + card.data["calibration"] + card.data["holdout"] == card.data["examples"] == 600
    assert card.metrics["trusted_classes"] == 3
    assert card.templates == [template.version for template in task().compiled_templates()]
    assert card.settings["training"]["epochs"] == 40
    unseen = messages(60, seed=9)
    probabilities = student.predict([text for text, _ in unseen]).probabilities
    names = [student.labels.names[at] for at in probabilities.argmax(axis=1)]
    assert np.mean([name == intent for name, (_, intent) in zip(names, unseen, strict=True)]) > 0.95


def test_what_is_kept_for_evaluation_never_teaches(tmp_path):
    examples = labelled(300)
    kept = [example.text.upper() + "!!" for example in examples[:50]]
    result = distil("desk", task(distil={"epochs": 1}), examples, tmp_path / "student", evaluation_texts=kept)
    assert result.card.data["examples"] <= 250


def test_gold_labels_alone_teach_too_and_give_accuracy(tmp_path):
    examples = [Example(text, intent) for text, intent in messages(400)]
    result = distil("desk", task(), examples, tmp_path / "student")
    assert result.evaluation.accuracy is not None
    assert result.evaluation.accuracy > 0.9
    assert result.card.data["methods"] == ["gold"]


def test_agreement_is_with_the_teacher_where_one_was_asked(tmp_path):
    wrong = [msgspec.structs.replace(example, label="praise") for example in labelled(300)]
    gold = [Example(text, intent) for text, intent in messages(100, seed=5)]
    result = distil("desk", task(distil={"epochs": 15}), [*wrong, *gold], tmp_path / "student")
    assert result.evaluation.agreement > 0.9
    assert result.evaluation.accuracy is not None
    assert result.evaluation.accuracy < 0.5
    assert result.evaluation.examples < result.card.data["holdout"]


def test_an_encoder_can_be_the_student(tmp_path):
    source = write_encoder(tmp_path / "encoder")
    settings = {"architecture": "encoder", "encoder": str(source), "encoder_layers": 1, "epochs": 1}
    result = distil("desk", task(distil=settings), labelled(150), tmp_path / "student")
    assert load_student(result.folder).card.base == str(source)
    with pytest.raises(SettingsError, match=r"distil\.encoder is not set"):
        distil("desk", task(distil={"architecture": "encoder"}), labelled(150), tmp_path / "student")


def test_too_few_examples_are_refused(tmp_path):
    with pytest.raises(DataError, match="5 different examples are too few"):
        distil("desk", task(), labelled(5), tmp_path / "student")


def test_evaluation_by_hand():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.4, 0.35, 0.25], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32)
    judged = evaluate(
        probabilities, np.array([0, 1, 1, 2]), np.array([0, -1, 2, 2]), tuple(INTENTS), min_confidence=0.5
    )
    assert judged.agreement == 0.75
    assert judged.accuracy == pytest.approx(2 / 3)
    assert judged.teacher_accuracy == pytest.approx(2 / 3)
    assert judged.coverage == 0.75
    assert judged.covered_agreement == 1.0
    assert judged.nll == pytest.approx(-(3 * np.log(0.8) + np.log(0.35)) / 4, rel=1e-5)
    assert [(entry.label, entry.examples, entry.agreed) for entry in judged.classes] == [
        ("order", 1, 1),
        ("refund", 2, 1),
        ("praise", 1, 1),
    ]
    assert "accuracy" in judged.metrics()
