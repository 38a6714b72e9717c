from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

from core.errors import ModelFolderError
from core.labels import LabelSet
from core.models.encoder import EncoderClassifier
from core.models.folder import Card, load_student, write_folder
from tests.support.encoders import write_encoder

LABELS = ("order_status", "refund_status", "praise")
TEXTS = ["where is my refund", "", "thanks " * 500, "漢字 \U0001f600 \ud800", "it is late and the order is not here"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture
def student(source):
    return EncoderClassifier.cut(source, 1, LABELS, seed=4)


def test_cut_keeps_the_first_layers_and_draws_the_head_from_the_seed(source, student):
    base = transformers.BertModel.from_pretrained(source, add_pooling_layer=False).state_dict()
    cut = student.network.bert.state_dict()
    assert torch.equal(
        cut["encoder.layer.0.attention.self.query.weight"], base["encoder.layer.0.attention.self.query.weight"]
    )
    assert not any(name.startswith("encoder.layer.1.") for name in cut)
    again, other = (EncoderClassifier.cut(source, 1, LABELS, seed=seed) for seed in (4, 5))
    assert torch.equal(again.network.classifier.weight, student.network.classifier.weight)
    assert torch.equal(again.network.bert.pooler.dense.weight, cut["pooler.dense.weight"])
    assert not torch.equal(other.network.classifier.weight, student.network.classifier.weight)


def test_nothing_is_printed_while_it_loads(source, capfd):
    EncoderClassifier.cut(source, 1, LABELS)
    assert capfd.readouterr() == ("", "")


def test_more_layers_than_there_are_is_an_error(source):
    with pytest.raises(ModelFolderError, match="has 2 layers"):
        EncoderClassifier.cut(source, 3, LABELS)


def test_the_company_a_text_keeps_changes_nothing(student):
    together = student.forward(TEXTS * 20)
    assert together.logits.shape == (100, 3)
    for row, text in enumerate(TEXTS):
        alone = student.forward([text])
        np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-5)
        np.testing.assert_allclose(together.pooled[row], alone.pooled[0], atol=1e-5)
        assert together.tokens[row] == alone.tokens[0]
    assert together.tokens[:3].tolist() == [6, 2, 64]


def test_training_sees_the_same_network(student):
    logits, pooled = student.run(student.tokenise(TEXTS))
    assert logits.requires_grad
    np.testing.assert_allclose(logits.detach().numpy(), student.forward(TEXTS).logits, atol=1e-5)
    assert pooled.shape == (5, 16)


def test_the_folder_is_hugging_faces(student, tmp_path):
    card = Card(task="desk", architecture="encoder", labels=list(LABELS), label_set=LabelSet(LABELS).version)
    folder = write_folder(tmp_path / "student", student, card)
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "order_status", "1": "refund_status", "2": "praise"}
    assert config["label2id"]["praise"] == 2
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(TEXTS[:1], return_tensors="pt", truncation=True)
    with torch.no_grad():
        expected = network(**inputs).logits.numpy()
    loaded = load_student(folder)
    np.testing.assert_allclose(loaded.model.forward(TEXTS[:1]).logits, expected, atol=1e-5)
    np.testing.assert_allclose(loaded.model.forward(TEXTS).logits, student.forward(TEXTS).logits, atol=1e-5)
    assert loaded.predict([]).probabilities.shape == (0, 3)


def test_a_folder_without_weights_says_so(tmp_path):
    with pytest.raises(ModelFolderError, match="transformers cannot load it"):
        EncoderClassifier.load(tmp_path)
