"""The `linear_probe`: a frozen sentence encoder with a linear head. It is the teacher of the example and the benchmark.

Its folder holds the head and a reference to the encoder with a checksum of its weights, not the encoder itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from core.errors import ModelFolderError
from core.models.base import FloatArray, Forward
from core.models.huggingface import TextTokenizer, load_pretrained, micro_batches
from core.models.sources import resolve_encoder, weights_digest

_MODEL_TYPE: Final = "tutelage_linear_probe"
_MAX_LENGTH: Final = 256


class SentenceEncoder:
    """A frozen encoder: mean of the last layer over the attention mask, scaled to length one (as Sentence-BERT's)."""

    def __init__(self, source: str) -> None:
        """Load the encoder that `source` means (see `core.models.sources`). Raises ModelFolderError."""
        self.source = source
        folder = resolve_encoder(source)
        self.digest = weights_digest(folder)
        self._network = load_pretrained(transformers.AutoModel, folder, dtype=torch.float32).eval()
        config = self._network.config
        self._tokens = TextTokenizer.from_folder(
            folder, min(_MAX_LENGTH, getattr(config, "max_position_embeddings", _MAX_LENGTH))
        )
        self._pad = config.pad_token_id or 0
        self.dim: int = config.hidden_size

    def embed(self, texts: Sequence[str]) -> tuple[FloatArray, NDArray[np.int64]]:
        """Return embeddings of shape (n, d) and token counts of shape (n,)."""
        ids = self._tokens.encode(texts)
        embeddings = np.zeros((len(ids), self.dim), dtype=np.float32)
        with torch.inference_mode():
            for rows, input_ids, mask in micro_batches(ids, self._pad):
                hidden = self._network(input_ids=input_ids, attention_mask=mask).last_hidden_state
                weights = mask[:, :, None].to(hidden.dtype)
                mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
                embeddings[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return embeddings, np.array([len(tokens) for tokens in ids], dtype=np.int64)


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    labels: tuple[str, ...]
    encoder: str
    encoder_sha256: str
    model_type: str = _MODEL_TYPE


class LinearProbe:
    """A sentence encoder and a head of shapes (k, d) and (k,)."""

    architecture: Final = "linear_probe"

    def __init__(self, encoder: SentenceEncoder, labels: Sequence[str], head: FloatArray, bias: FloatArray) -> None:
        self.encoder = encoder
        self.labels = tuple(labels)
        if head.shape != (len(self.labels), encoder.dim) or bias.shape != (len(self.labels),):
            raise ModelFolderError(
                f"the head has shapes {head.shape} and {bias.shape}, but {len(self.labels)} labels on an encoder of "
                f"width {encoder.dim} need ({len(self.labels)}, {encoder.dim}) and ({len(self.labels)},)"
            )
        self.head, self.bias = head, bias

    @classmethod
    def load(cls, folder: Path) -> LinearProbe:
        """Read what `save` wrote. Raises ModelFolderError, also where the encoder's weights are not the same."""
        try:
            config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config)
            state = load_file(folder / "model.safetensors")
            head, bias = state["head"], state["bias"]
        except (OSError, msgspec.MsgspecError, SafetensorError, ValueError, KeyError) as error:
            raise ModelFolderError(f"{folder}: cannot be read as a linear probe ({error})") from error
        encoder = SentenceEncoder(config.encoder)
        if encoder.digest != config.encoder_sha256:
            raise ModelFolderError(
                f"{folder}: the weights of {config.encoder!r} are not those that the head was fitted on; "
                "install that version again, or fit the head anew"
            )
        return cls(encoder, config.labels, head, bias)

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Return embeddings of shape (n, d), each of length one."""
        return self.encoder.embed(texts)[0]

    def forward(self, texts: Sequence[str]) -> Forward:
        """Run the model over a batch of texts."""
        embeddings, tokens = self.encoder.embed(texts)
        return Forward(embeddings @ self.head.T + self.bias, embeddings, tokens)

    def save(self, folder: Path) -> None:
        """Write `config.json` and the head's `model.safetensors` into `folder`."""
        config = _Config(labels=self.labels, encoder=self.encoder.source, encoder_sha256=self.encoder.digest)
        (folder / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")
        state = {"head": np.ascontiguousarray(self.head), "bias": np.ascontiguousarray(self.bias)}
        save_file(state, folder / "model.safetensors", metadata={"format": "np"})
