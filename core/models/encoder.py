"""The `encoder` student: a Hugging Face sequence classifier, saved exactly as transformers and vLLM expect it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers

from core.errors import ModelFolderError
from core.models.base import Forward
from core.models.huggingface import TextTokenizer, load_pretrained, micro_batches, pad_ids, quiet

MAX_LENGTH: Final = 128
"""Tokens that a student reads, unless the model can hold fewer."""


class EncoderClassifier:
    """A sequence classifier of transformers with its tokenizer. `network` is what training trains."""

    architecture: Final = "encoder"

    def __init__(self, network: Any, tokenizer: Any) -> None:
        """Take a `...ForSequenceClassification` and a fast tokenizer; its `model_max_length` is where texts are cut."""
        self.network = network
        self.tokenizer = tokenizer
        self.labels = tuple(network.config.id2label[index] for index in range(network.config.num_labels))
        self._tokens = TextTokenizer(tokenizer.backend_tokenizer, tokenizer.model_max_length)
        self._pad = network.config.pad_token_id or 0

    @classmethod
    def load(cls, folder: Path) -> EncoderClassifier:
        """Read what `save` wrote, or any sequence classifier in Hugging Face's layout, ready for inference."""
        network = load_pretrained(transformers.AutoModelForSequenceClassification, folder, dtype=torch.float32)
        return cls(network.eval(), load_pretrained(transformers.AutoTokenizer, folder))

    @classmethod
    def cut(
        cls, source: Path, layers: int, labels: Sequence[str], *, seed: int = 0, max_length: int = MAX_LENGTH
    ) -> EncoderClassifier:
        """Make an untrained student from the first `layers` layers of the encoder in the folder `source`.

        Pooler and head are drawn anew from `seed`: a sentence encoder that is used through mean pooling never trained
        its pooler. Raises ModelFolderError where the encoder has fewer layers.
        """
        config = load_pretrained(transformers.AutoConfig, source)
        if not 1 <= layers <= config.num_hidden_layers:
            raise ModelFolderError(
                f"{source}: has {config.num_hidden_layers} layers; set encoder_layers to that or less"
            )
        config.num_hidden_layers = layers
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
        config.problem_type = "single_label_classification"
        network = load_pretrained(
            transformers.AutoModelForSequenceClassification, source, config=config, dtype=torch.float32
        )
        _draw_head(network, seed)
        tokenizer = load_pretrained(transformers.AutoTokenizer, source)
        tokenizer.model_max_length = min(max_length, getattr(config, "max_position_embeddings", max_length))
        return cls(network.eval(), tokenizer)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; training does this once."""
        return self._tokens.encode(texts)

    def run(self, ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the network over a batch of token ids; return logits (n, k) and pooled vectors (n, d) with gradients."""
        input_ids, mask = pad_ids(ids, self._pad)
        return self._run(input_ids, mask)

    def forward(self, texts: Sequence[str]) -> Forward:
        """Run the model over a batch of texts, in evaluation mode."""
        ids = self.tokenise(texts)
        config = self.network.config
        logits = np.zeros((len(ids), config.num_labels), dtype=np.float32)
        pooled = np.zeros((len(ids), config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for rows, input_ids, mask in micro_batches(ids, self._pad):
                batch_logits, batch_pooled = self._run(input_ids, mask)
                logits[rows] = batch_logits.numpy()
                pooled[rows] = batch_pooled.numpy()
        return Forward(logits, pooled, np.array([len(tokens) for tokens in ids], dtype=np.int64))

    def save(self, folder: Path) -> None:
        """Write config, weights and tokenizer in Hugging Face's layout."""
        with quiet():
            self.network.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def _run(self, input_ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if hasattr(self.network, "bert"):  # the head reads the pooler's output
            pooled = self.network.bert(input_ids=input_ids, attention_mask=mask).pooler_output
            return self.network.classifier(self.network.dropout(pooled)), pooled
        output = self.network(input_ids=input_ids, attention_mask=mask, output_hidden_states=True)
        return output.logits, output.hidden_states[-1][:, 0]


def _draw_head(network: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    spread = getattr(network.config, "initializer_range", 0.02)
    body = {id(parameter) for parameter in network.base_model.parameters()}
    pooler = getattr(network.base_model, "pooler", None)
    heads = [parameter for parameter in network.parameters() if id(parameter) not in body]
    with torch.no_grad():
        for parameter in [*heads, *(pooler.parameters() if pooler is not None else ())]:
            if parameter.dim() > 1:
                parameter.normal_(0.0, spread, generator=generator)
            else:
                parameter.zero_()
