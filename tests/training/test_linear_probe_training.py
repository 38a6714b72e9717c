from __future__ import annotations

import numpy as np
import pytest

from core.errors import DataError, ModelFolderError
from core.labels import LabelSet
from core.models.calibration import nll
from core.models.folder import load_student
from core.settings import LinearProbeSettings
from tests.support.desk import INTENTS, messages
from tests.support.encoders import write_encoder
from training.linear_probe import fit_head, fit_linear_probe
from training.progress import Progress

LABELS = LabelSet(INTENTS)


def test_a_head_separates_and_knows_its_doubts():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 16))
    targets = np.repeat(np.arange(5), 20)
    vectors = (centres[targets] + rng.normal(scale=1.0, size=(100, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    head = fit_head(vectors[::2], targets[::2], 5)
    logits = vectors[1::2] @ head.weight.T + head.bias
    unseen = targets[1::2]
    assert (logits.argmax(axis=1) == unseen).mean() > 0.8
    assert abs((logits.argmax(axis=1) == unseen).mean() - head.accuracy) < 0.2
    assert nll(logits, unseen, head.temperature) < np.log(5)


def test_a_class_with_one_example_does_no_harm():
    vectors = np.eye(4, dtype=np.float32)
    head = fit_head(vectors, np.array([0, 0, 1, 2]), 3)
    assert np.isfinite(head.weight).all()


@pytest.fixture
def settings(tmp_path):
    rows = "\n".join(f"{text},{intent}" for text, intent in messages(30))
    (tmp_path / "labelled.csv").write_text(f"text,label\n{rows}\n", encoding="utf-8")
    encoder = write_encoder(tmp_path / "encoder")
    return LinearProbeSettings(encoder=str(encoder), examples=[tmp_path / "labelled.csv"])


def test_a_teacher_is_fitted_once_and_found_again(settings, tmp_path):
    steps: list[Progress] = []
    root = tmp_path / "teachers"
    folder = fit_linear_probe(settings, LABELS, root, task="desk", report=steps.append)
    assert {step.stage for step in steps} == {"fit"}
    student = load_student(folder)
    assert student.card.architecture == "linear_probe"
    assert student.predict(["parcel"]).probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    steps.clear()
    assert fit_linear_probe(settings, LABELS, root, task="desk", report=steps.append) == folder
    assert not steps
    (folder / "config.json").write_text("{}", encoding="utf-8")  # damaged: fitted anew
    assert fit_linear_probe(settings, LABELS, root, task="desk", report=steps.append) == folder
    assert steps
    load_student(folder)


def test_other_examples_make_another_teacher(settings, tmp_path):
    first = fit_linear_probe(settings, LABELS, tmp_path / "teachers", task="desk")
    with settings.examples[0].open("a", encoding="utf-8") as file:
        file.write("one more parcel,order\n")
    assert fit_linear_probe(settings, LABELS, tmp_path / "teachers", task="desk") != first


def test_what_is_missing_is_named(settings, tmp_path):
    with pytest.raises(DataError, match=r"no labelled example of 'new' \(1 of 4"):
        fit_linear_probe(settings, LabelSet([*INTENTS, "new"]), tmp_path, task="desk")
    with pytest.raises(DataError, match="the task has no label"):
        fit_linear_probe(settings, LabelSet(["order", "refund"]), tmp_path, task="desk")
    nowhere = settings.model_copy(update={"encoder": "no_such_package_here:path"})
    with pytest.raises(ModelFolderError, match="not installed"):
        fit_linear_probe(nowhere, LABELS, tmp_path, task="desk")
