"""The `ngram` student: hashed n-grams, an embedding bag, a linear head. About two million parameters, numpy alone.

    pooled = sum(embedding[f] for f in features) / sqrt(m),    logits = head @ pooled + bias

with m features. The square root keeps the variance of `pooled` at that of the rows, whatever the text's length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from core.errors import ModelFolderError
from core.models.base import FloatArray, Forward
from core.models.features import Encoded, FeatureConfig, HashedNgrams

_MODEL_TYPE: Final = "tutelage_ngram"


class NgramConfig(FeatureConfig, frozen=True, kw_only=True):
    """The features, the labels and the width of the model."""

    labels: tuple[str, ...]
    """The labels, in the order of the logits."""
    dim: int = 32
    """Width of the embedding."""


class NgramClassifier:
    """Inference in numpy. Training works on the same arrays, through `state` and `from_state`."""

    architecture: Final = "ngram"

    def __init__(self, config: NgramConfig, embedding: FloatArray, head: FloatArray, bias: FloatArray) -> None:
        """Take arrays of shapes (buckets, dim), (k, dim) and (k,). Raises ModelFolderError where they do not fit."""
        classes = len(config.labels)
        expected = {"embedding": (config.buckets, config.dim), "head": (classes, config.dim), "bias": (classes,)}
        for name, array in (("embedding", embedding), ("head", head), ("bias", bias)):
            if array.shape != expected[name] or array.dtype != np.float32:
                raise ModelFolderError(
                    f"{name} is {array.dtype}{list(array.shape)}, but the configuration says "
                    f"float32{list(expected[name])}; config.json and model.safetensors are not of one model"
                )
        self.config = config
        self.features = HashedNgrams(config)
        self._embedding, self._head, self._bias = embedding, head, bias

    @classmethod
    def initial(cls, config: NgramConfig, seed: int) -> NgramClassifier:
        """An untrained model: embedding from a normal distribution of standard deviation 1/sqrt(dim), head of zeros."""
        embedding = np.random.default_rng(seed).standard_normal((config.buckets, config.dim), dtype=np.float32)
        embedding /= np.float32(np.sqrt(config.dim))
        classes = len(config.labels)
        return cls(config, embedding, np.zeros((classes, config.dim), np.float32), np.zeros(classes, np.float32))

    @classmethod
    def from_state(cls, config: NgramConfig, state: Mapping[str, NDArray[Any]]) -> NgramClassifier:
        """The model with these arrays: `embedding`, `head`, `bias`."""
        missing = {"embedding", "head", "bias"} - state.keys()
        if missing:
            raise ModelFolderError(f"the weights lack {', '.join(sorted(missing))}; this is no ngram student")
        return cls(config, state["embedding"], state["head"], state["bias"])

    @classmethod
    def load(cls, folder: Path) -> NgramClassifier:
        """Read what `save` wrote. Raises ModelFolderError where it is not that."""
        try:
            document = msgspec.json.decode((folder / "config.json").read_bytes())
            if document.get("model_type") != _MODEL_TYPE:
                raise ModelFolderError(
                    f"{folder}: config.json is of no ngram student (model_type is not {_MODEL_TYPE})"
                )
            config = msgspec.convert(document, NgramConfig)
            state = load_file(folder / "model.safetensors")
        except (OSError, msgspec.MsgspecError, SafetensorError, ValueError) as error:
            raise ModelFolderError(f"{folder}: cannot be read as an ngram student ({error})") from error
        return cls.from_state(config, state)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the logits."""
        return self.config.labels

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(array.size for array in self.state().values())

    def state(self) -> dict[str, FloatArray]:
        """The arrays themselves, not copies."""
        return {"embedding": self._embedding, "head": self._head, "bias": self._bias}

    def save(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors` into `folder`."""
        document = {"model_type": _MODEL_TYPE, "architectures": ["NgramClassifier"]} | msgspec.to_builtins(self.config)
        (folder / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        save_file(self.state(), folder / "model.safetensors", metadata={"format": "np"})

    def forward(self, texts: Sequence[str]) -> Forward:
        """Run the model over a batch of texts."""
        return self.forward_encoded(self.features.encode(texts))

    def forward_encoded(self, encoded: Encoded) -> Forward:
        """Run the model over features that were encoded before, as training does every epoch."""
        indices, offsets, words = encoded
        pooled = np.empty((len(words), self.config.dim), dtype=np.float32)
        for row, (start, end) in enumerate(pairwise(offsets.tolist())):
            # Two to four times as fast as a gather over the batch with add.reduceat, and it needs no memory for it.
            scale = np.full(end - start, max(end - start, 1) ** -0.5, dtype=np.float32)
            pooled[row] = scale @ self._embedding.take(indices[start:end], axis=0)
        return Forward(pooled @ self._head.T + self._bias, pooled, words)
