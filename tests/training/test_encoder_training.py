from __future__ import annotations

import numpy as np
import pytest

from core.labels import LabelSet
from core.models.encoder import EncoderClassifier
from tests.support.desk import INTENTS, labelled
from tests.support.encoders import write_encoder
from training.encoder import EncoderTraining, _batches, _warm_up_then_fall, train_encoder
from training.examples import Example, hard_labels, target_distributions

LABELS = LabelSet(INTENTS)
CUES = {
    "order": ("order", "late"),
    "refund": ("refund", "money"),
    "praise": ("thanks", "great"),
}  # words of its vocabulary


def _messages(count, seed):
    rng = np.random.default_rng(seed)
    around = ["where", "is", "my", "the", "a", "it", "please"]
    intents = rng.choice(list(CUES), count).tolist()
    return [(" ".join([*rng.choice(around, 2), str(rng.choice(CUES[intent]))]), intent) for intent in intents]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def _train(source, examples, seed=0, on_epoch=None, training=None):
    return train_encoder(
        EncoderClassifier.cut(source, 1, LABELS.names, seed=seed),
        [example.text for example in examples],
        target_distributions(examples, LABELS),
        hard_labels(examples, LABELS),
        np.ones(len(examples), dtype=np.float32),
        training or EncoderTraining(epochs=2),
        seed=seed,
        on_epoch=on_epoch,
    )


def test_it_learns_what_the_teacher_says(source):
    losses = []
    examples = [Example(text, teacher=intent) for text, intent in _messages(320, seed=0)]
    fast = EncoderTraining(epochs=10, learning_rate=5e-3, head_learning_rate=1e-2)  # it starts from random weights
    student = _train(source, examples, on_epoch=lambda done, total, loss: losses.append(loss), training=fast)
    unseen = _messages(90, seed=9)
    predicted = student.forward([text for text, _ in unseen]).logits.argmax(axis=1)
    assert np.mean([LABELS.names[at] == intent for at, (_, intent) in zip(predicted, unseen, strict=True)]) > 0.8
    assert len(losses) == 10
    assert losses[-1] < losses[0] / 2
    assert not student.network.training


def test_the_seed_decides_everything(source):
    examples, texts = labelled(64), ["where is my parcel"]
    first, again, other = (_train(source, examples, seed).forward(texts).logits for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_batch_holds_texts_of_like_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 60, size=1000).tolist()
    batches = list(_batches(lengths, 32, rng))
    assert sorted(row for batch in batches for row in batch) == list(range(1000))
    padded = sum(max(lengths[row] for row in batch) * len(batch) for batch in batches)
    assert padded < 1.15 * sum(lengths)


def test_the_rate_rises_and_falls():
    factor = _warm_up_then_fall(100, 0.1)
    assert factor(0) == pytest.approx(0.1)
    assert factor(9) == factor(10) == 1.0
    assert factor(100) == 0.0
    assert _warm_up_then_fall(1, 0.1)(0) == 1.0
