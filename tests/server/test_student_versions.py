from __future__ import annotations

import asyncio

import numpy as np
import pytest

from core.errors import ModelFolderError, ModelNotFoundError, UnavailableError
from core.labels import LabelSet
from core.models.folder import Card, write_folder
from core.models.ngram import NgramClassifier
from core.templates import compile_template
from server.batching import Limits
from server.metrics import StudentMetrics
from server.versions import CHALLENGER, CHAMPION, ServedTask, Versions
from tests.support.students import CUES, LABELS, build_model, write_student

TEMPLATE = compile_template("default", [("user", "{text}")])


@pytest.fixture
async def versions():
    task = ServedTask("desk", (TEMPLATE,), LabelSet(LABELS), ("gpt-4o",))
    made = Versions([task], Limits(), StudentMetrics())
    yield made
    await made.close()


@pytest.fixture
def folder(tmp_path):
    return write_student(tmp_path / "one")


async def test_names_and_aliases(versions, folder, tmp_path):
    assert not versions.ready
    with pytest.raises(UnavailableError, match="no champion yet"):
        versions.pick("desk")
    champion = await versions.install("desk", CHAMPION, "1", folder)
    challenger = await versions.install("desk", CHALLENGER, "2", write_student(tmp_path / "two"))
    assert versions.ready
    for name in ("desk", "gpt-4o", "desk@champion", "desk@1", "gpt-4o@champion"):
        assert versions.pick(name) is champion
    for name in ("desk@challenger", "desk@2"):
        assert versions.pick(name) is challenger
    for name in ("desk@3", "other", "other@champion", "@", "desk@"):
        with pytest.raises(ModelNotFoundError):
            versions.pick(name)


async def test_a_promoted_challenger_is_not_loaded_again_and_not_unloaded(versions, folder, tmp_path):
    await versions.install("desk", CHAMPION, "1", folder)
    challenger = await versions.install("desk", CHALLENGER, "2", write_student(tmp_path / "two"))
    assert await versions.install("desk", CHAMPION, "2", tmp_path / "not-read-again") is challenger
    await versions.remove("desk", CHALLENGER)
    assert (await versions.pick("desk").batcher.submit("my refund")).probabilities.argmax() == 1
    with pytest.raises(ModelNotFoundError):
        versions.pick("desk@1")


async def test_no_request_fails_while_versions_change(versions, folder, tmp_path):
    folders = [folder, write_student(tmp_path / "two")]
    await versions.install("desk", CHAMPION, "0", folder)
    done, answered = asyncio.Event(), 0

    async def ask() -> None:
        nonlocal answered
        while not done.is_set():
            prediction = await versions.pick("desk").batcher.submit("thanks, great")
            assert prediction.probabilities.argmax() == 2
            answered += 1

    askers = [asyncio.create_task(ask()) for _ in range(16)]
    for number in range(1, 11):
        await versions.install("desk", CHAMPION, str(number), folders[number % 2])
    done.set()
    await asyncio.gather(*askers)
    assert answered > 100
    assert versions.pick("desk").version == "10"


async def _refused(versions, folder, message):
    with pytest.raises(ModelFolderError, match=message):
        await versions.install("desk", CHAMPION, "2", folder)
    assert versions.pick("desk").version == "1"
    assert (await versions.pick("desk").batcher.submit("refund")).probabilities.argmax() == 1


async def test_a_corrupted_folder_is_refused_and_the_old_version_keeps_answering(versions, folder, tmp_path):
    await versions.install("desk", CHAMPION, "1", folder)
    damaged = write_student(tmp_path / "two")
    data = bytearray((damaged / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(bytes(data))
    await _refused(versions, damaged, "altered or cut")


async def test_another_label_set_is_refused(versions, folder, tmp_path):
    await versions.install("desk", CHAMPION, "1", folder)
    await _refused(
        versions, write_student(tmp_path / "two", cues=CUES | {"new": ("new",)}), "distil a student for the new"
    )


async def test_weights_that_are_not_numbers_are_refused(versions, folder, tmp_path):
    await versions.install("desk", CHAMPION, "1", folder)
    model = build_model()
    state = model.state() | {"bias": np.array([np.nan, 0, 0], np.float32)}
    card = Card(task="desk", architecture="ngram", labels=list(LABELS), label_set=LabelSet(LABELS).version)
    broken = write_folder(tmp_path / "two", NgramClassifier.from_state(model.config, state), card)
    await _refused(versions, broken, "not finite")
