"""Against the real MLflow with SQLite, as it is embedded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.errors import ModelFolderError, RegistryError
from core.labels import LabelSet
from core.models.folder import Card, verify_folder, write_folder
from core.models.ngram import NgramClassifier, NgramConfig
from core.registry import Registry

LABELS = ("refund", "praise")


def _student(folder, seed: int = 0):
    card = Card(
        task="desk",
        architecture="ngram",
        labels=list(LABELS),
        label_set=LabelSet(LABELS).version,
        metrics={"agreement": 0.9 + seed / 100},
        seed=seed,
    )
    return write_folder(folder, NgramClassifier.initial(NgramConfig(labels=LABELS, buckets=64, dim=4), seed), card)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    return Registry(f"sqlite:///{state}/sub/registry.db", state / "artifacts")


def test_a_students_life(registry, tmp_path):
    assert registry.versions("desk") == []
    assert registry.aliases("desk") is None
    assert registry.version_of("desk", "champion") is None
    folders = [_student(tmp_path / str(seed), seed) for seed in range(2)]
    assert [registry.register("desk", folder, {"run": "r1"}) for folder in folders] == ["1", "2"]
    assert registry.aliases("desk") == {}

    registry.set_alias("desk", "champion", "1")
    registry.set_alias("desk", "challenger", "2")
    first, second = registry.versions("desk")
    assert (first.version, first.aliases, first.metrics) == ("1", ("champion",), {"agreement": 0.9})
    assert second.aliases == ("challenger",)
    assert first.tags["run"] == "r1"
    assert 0 < first.created <= second.created

    registry.set_alias("desk", "champion", "2")
    registry.set_alias("desk", "challenger", None)
    registry.set_alias("desk", "challenger", None)
    assert registry.aliases("desk") == {"champion": "2"}

    fetched = registry.fetch("desk", "2", tmp_path / "copies" / "2")
    assert verify_folder(fetched) == verify_folder(folders[1])
    assert [path.name for path in fetched.parent.iterdir()] == ["2"]


def test_what_is_not_there_is_said(registry, tmp_path):
    registry.register("other", _student(tmp_path / "s"), {})
    with pytest.raises(RegistryError, match="version=9"):
        registry.set_alias("other", "champion", "9")
    with pytest.raises(RegistryError, match="cannot fetch version 9"):
        registry.fetch("other", "9", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_damaged_folder_is_not_registered(registry, tmp_path):
    folder = _student(tmp_path / "s")
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        registry.register("damaged", folder, {})
    assert registry.versions("damaged") == []


def test_an_artifact_that_was_altered_is_not_fetched(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/registry.db", tmp_path / "artifacts")
    registry.register("desk", _student(tmp_path / "s"), {})
    (stored,) = (tmp_path / "artifacts").rglob("model.safetensors")
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        registry.fetch("desk", "1", tmp_path / "copy")
    # and a folder that is consistent, but another one
    _student(stored.parent, seed=3)
    with pytest.raises(RegistryError, match="no longer the folder that was registered"):
        registry.fetch("desk", "1", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_registry_that_cannot_be_opened_is_one_line_without_its_password(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryError, match="cannot be opened"):
        Registry(f"sqlite:///{tmp_path}/file/registry.db", tmp_path)
    with pytest.raises(RegistryError) as caught:
        Registry("postgresql://me:hunter2@127.0.0.1:1/db", tmp_path).versions("desk")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_importing_it_does_not_import_mlflow_and_opening_it_is_silent(tmp_path):
    program = (
        "import sys; from core.registry import Registry; assert 'mlflow' not in sys.modules; from pathlib import Path\n"
        f"print(Registry('sqlite:///{tmp_path}/r.db', Path('{tmp_path}')).versions('desk'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
