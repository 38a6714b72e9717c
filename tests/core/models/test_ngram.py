from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ModelFolderError
from core.models.ngram import NgramClassifier, NgramConfig

CONFIG = NgramConfig(labels=("a", "b", "c"), buckets=512, dim=8)


def _random(seed: int = 3) -> NgramClassifier:
    model = NgramClassifier.initial(CONFIG, seed)
    generator = np.random.default_rng(seed)
    state = model.state() | {
        "head": generator.standard_normal((3, 8)).astype(np.float32),
        "bias": generator.standard_normal(3).astype(np.float32),
    }
    return NgramClassifier.from_state(CONFIG, state)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
@settings(deadline=None)
def test_forward_is_the_formula(texts):
    model = _random()
    state = model.state()
    forward = model.forward(texts)
    indices, offsets, _ = model.features.encode(texts)
    for row in range(len(texts)):
        found = indices[offsets[row] : offsets[row + 1]]
        pooled = state["embedding"][found].astype(np.float64).sum(axis=0) / np.sqrt(max(len(found), 1))
        np.testing.assert_allclose(forward.pooled[row], pooled, atol=1e-5)
        np.testing.assert_allclose(forward.logits[row], state["head"] @ pooled + state["bias"], atol=1e-4)


def test_a_batch_without_texts():
    forward = _random().forward([])
    assert forward.logits.shape == (0, 3)
    assert forward.pooled.shape == (0, 8)


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    model = _random()
    model.save(tmp_path)
    loaded = NgramClassifier.load(tmp_path)
    assert loaded.config == model.config
    assert loaded.labels == ("a", "b", "c")
    assert loaded.parameters == 512 * 8 + 3 * 8 + 3
    texts = ["hello", "where is it?"]
    np.testing.assert_array_equal(loaded.forward(texts).logits, model.forward(texts).logits)


def test_a_seed_makes_the_same_model_again():
    first, second = NgramClassifier.initial(CONFIG, 1).state(), NgramClassifier.initial(CONFIG, 1).state()
    other = NgramClassifier.initial(CONFIG, 2).state()
    np.testing.assert_array_equal(first["embedding"], second["embedding"])
    assert not np.array_equal(first["embedding"], other["embedding"])


def test_weights_of_another_shape_are_refused():
    state = _random().state() | {"bias": np.zeros(4, np.float32)}
    with pytest.raises(ModelFolderError, match="bias is float32"):
        NgramClassifier.from_state(CONFIG, state)
    with pytest.raises(ModelFolderError, match="lack head"):
        NgramClassifier.from_state(CONFIG, {name: array for name, array in state.items() if name != "head"})


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ModelFolderError, match="cannot be read"):
        NgramClassifier.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelFolderError, match="no ngram student"):
        NgramClassifier.load(tmp_path)
