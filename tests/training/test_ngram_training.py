from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.labels import LabelSet
from core.models.ngram import NgramClassifier, NgramConfig
from tests.support.desk import INTENTS, labelled, messages
from training.examples import hard_labels, target_distributions
from training.ngram import NgramModule, NgramTraining, _batches, train_ngram, whole_batch

LABELS = LabelSet(INTENTS)
CONFIG = NgramConfig(labels=LABELS.names, buckets=4096, dim=16)


def _train(examples, seed=0, on_epoch=None, **changes):
    training = NgramTraining(**({"epochs": 8} | changes))
    return train_ngram(
        CONFIG,
        [example.text for example in examples],
        target_distributions(examples, LABELS),
        hard_labels(examples, LABELS),
        np.ones(len(examples), dtype=np.float32),
        training,
        seed=seed,
        on_epoch=on_epoch,
    )


def _same(first, second):
    return all(np.array_equal(first.state()[name], second.state()[name]) for name in first.state())


@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_torch_computes_what_the_numpy_inference_computes(texts):
    model = NgramClassifier.initial(CONFIG, 1)
    state = model.state() | {"head": np.random.default_rng(2).standard_normal((3, 16)).astype(np.float32)}
    model = NgramClassifier.from_state(CONFIG, state)
    with torch.inference_mode():
        logits = NgramModule(model)(*whole_batch(model.features.encode(texts))).numpy()
    np.testing.assert_allclose(logits, model.forward(texts).logits, atol=1e-5, rtol=1e-5)


def test_it_learns_what_the_teacher_says():
    losses = []
    student = _train(labelled(600), on_epoch=lambda done, total, loss: losses.append((done, total, loss)))
    unseen = messages(300, seed=9)
    predicted = student.forward([text for text, _ in unseen]).logits.argmax(axis=1)
    assert np.mean([LABELS.names[at] == intent for at, (_, intent) in zip(predicted, unseen, strict=True)]) > 0.95
    assert [(done, total) for done, total, _ in losses] == [(epoch, 8) for epoch in range(1, 9)]
    assert losses[-1][2] < losses[0][2] / 4


def test_the_seed_decides_everything():
    examples = labelled(120)
    first, again, other = _train(examples), _train(examples), _train(examples, seed=1)
    assert _same(first, again)
    assert not _same(first, other)


def test_an_epoch_shows_each_text_once_and_hides_about_the_share():
    encoded = NgramClassifier.initial(CONFIG, 0).features.encode([text for text, _ in messages(101)])
    rows, shown = [], 0
    for batch_rows, (indices, offsets, scale) in _batches(encoded, 16, 0.25, np.random.default_rng(0)):
        assert len(offsets) == len(batch_rows) + 1 == len(scale) + 1
        assert offsets[-1] == len(indices)
        rows += batch_rows.tolist()
        shown += len(indices)
    assert sorted(rows) == list(range(101))
    assert abs(shown / len(encoded[0]) - 0.75) < 0.03


def test_few_examples_are_shown_more_often():
    assert [NgramTraining.usual_epochs(n) for n in (0, 100, 10_000, 1_000_000)] == [40, 40, 20, 10]
