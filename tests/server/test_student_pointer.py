from __future__ import annotations

import json

import pytest

from core.errors import ModelFolderError, StateError
from server.pointer import Pointers
from tests.support.students import CUES, write_student


@pytest.fixture
def pointers(tmp_path):
    made = Pointers(tmp_path)
    write_student(made.version_folder("desk", "3"))
    made.write("desk", "champion", "3")
    return made


def test_what_was_written_is_read(pointers):
    pointer = pointers.read("desk", "champion")
    assert (pointer.task, pointer.alias, pointer.version) == ("desk", "champion", "3")
    assert pointers.read("desk", "challenger") is None
    pointers.remove("desk", "champion")
    pointers.remove("desk", "champion")
    assert pointers.read("desk", "champion") is None


def test_an_altered_pointer_is_refused(pointers, tmp_path):
    path = tmp_path / "desk" / "champion.json"
    path.write_text(path.read_text().replace('"version":"3"', '"version":"4"'))
    with pytest.raises(StateError, match="damaged"):
        pointers.read("desk", "champion")
    path.write_text("")
    with pytest.raises(StateError, match="cannot be read"):
        pointers.read("desk", "champion")


def test_another_folder_than_it_was_written_for_is_refused(pointers):
    write_student(pointers.version_folder("desk", "3"), cues=dict(reversed(CUES.items())))
    with pytest.raises(StateError, match="another one than it was written for"):
        pointers.read("desk", "champion")


def test_a_damaged_folder_is_refused(pointers):
    (pointers.version_folder("desk", "3") / "config.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        pointers.read("desk", "champion")


def test_old_copies_go_and_pointers_stay(pointers, tmp_path):
    write_student(pointers.version_folder("desk", "2"))
    (tmp_path / "desk" / ".4-half-copied").mkdir()
    pointers.prune("desk", {"3"})
    assert sorted(path.name for path in (tmp_path / "desk").iterdir()) == ["3", "champion.json"]
    assert json.loads((tmp_path / "desk" / "champion.json").read_text())["pointer"]["version"] == "3"
