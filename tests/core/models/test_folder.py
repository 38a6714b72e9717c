from __future__ import annotations

import json
import subprocess
from typing import Any

import numpy as np
import pytest
import yaml

from core.errors import ModelFolderError
from core.labels import LabelSet
from core.models.folder import CARD_SCHEMA, Card, load_student, read_card, verify_folder, write_folder
from core.models.ngram import NgramClassifier, NgramConfig

LABELS = ("refund", "praise")


def _card(**changes) -> Card:
    values: dict[str, Any] = {
        "task": "desk",
        "architecture": "ngram",
        "labels": list(LABELS),
        "label_set": LabelSet(LABELS).version,
        "temperature": 1.7,
        "metrics": {"accuracy": 0.91},
        "data": {"prompts": 1200},
        "notes": "Made by a test.",
        "licence": "apache-2.0",
    } | changes
    return Card(**values)


@pytest.fixture
def model() -> NgramClassifier:
    return NgramClassifier.initial(NgramConfig(labels=LABELS, buckets=64, dim=4), 0)


@pytest.fixture
def folder(tmp_path, model):
    return write_folder(tmp_path / "student", model, _card())


def test_what_was_written_loads(folder, model):
    student = load_student(folder)
    assert student.card == read_card(folder) == _card(created=student.card.created)
    predictions = student.predict(["where is my refund", ""])
    assert predictions.probabilities.shape == (2, 2)
    assert predictions.vectors.dtype == np.float16
    assert predictions.tokens.tolist() == [4, 1]


def test_people_can_read_the_card_and_check_the_sums(folder):
    text = (folder / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    assert front["license"] == "apache-2.0"
    assert "| accuracy | 0.91 |" in text
    assert "`refund`" in text
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_everyone_may_read_it_and_nothing_is_left_beside_it(folder):
    assert [path.name for path in folder.parent.iterdir()] == ["student"]
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir())


def test_it_is_replaced_as_a_whole(folder, model):
    (folder / "stray.txt").write_text("from the version before")
    before = folder.joinpath("SHA256SUMS").read_text()
    write_folder(folder, model, _card(seed=9))
    assert not (folder / "stray.txt").exists()
    assert folder.joinpath("SHA256SUMS").read_text() != before
    assert read_card(folder).seed == 9
    assert [path.name for path in folder.parent.iterdir()] == ["student"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tutelage.json", "README.md"])
def test_an_altered_file_is_named(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(ModelFolderError, match=name):
        load_student(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tutelage.json", "SHA256SUMS"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelFolderError, match=name):
        verify_folder(folder)


def test_sums_cannot_point_outside(folder):
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  ../secret\n")
    with pytest.raises(ModelFolderError, match="no checksum"):
        verify_folder(folder)


def test_a_newer_card_is_refused(folder):
    document = json.loads((folder / "tutelage.json").read_text()) | {"schema": CARD_SCHEMA + 1, "of_tomorrow": 1}
    (folder / "tutelage.json").write_text(json.dumps(document))
    with pytest.raises(ModelFolderError, match="upgrade"):
        read_card(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "one"}', '{"task": 3}'])
def test_a_damaged_card_is_refused(folder, text):
    (folder / "tutelage.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"tutelage\.json"):
        read_card(folder)


def test_an_unknown_architecture_is_named(folder):
    document = json.loads((folder / "tutelage.json").read_text()) | {"architecture": "oracle"}
    (folder / "tutelage.json").write_text(json.dumps(document))
    with pytest.raises(ModelFolderError, match="oracle"):
        load_student(folder, verify=False)


def test_a_card_of_another_model_is_refused(tmp_path, model):
    with pytest.raises(ModelFolderError, match="labels differ"):
        write_folder(tmp_path / "student", model, _card(labels=["praise", "refund"]))
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_it_says_so(tmp_path, model):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFolderError, match="cannot be written"):
        write_folder(tmp_path / "file" / "student", model, _card())
