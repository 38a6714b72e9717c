"""What the two architectures on transformers share: quiet loading, tokenising, and batches without much padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError
from tokenizers import Tokenizer

from core.errors import ModelFolderError

MICRO_BATCH: Final = 32
"""Texts of one pass. Sorted by length, so that short texts are not padded to the longest one of all."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' loading tables and progress bars; restore what was set before."""
    logging: Any = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_pretrained(loader: Any, folder: Path, **options: Any) -> Any:
    """Run a transformers `from_pretrained` on a local folder, quietly. Raises ModelFolderError where it fails."""
    try:
        with quiet():
            return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelFolderError(
            f"{folder}: transformers cannot load it ({' '.join(str(error).split())[:300]})"
        ) from error


class TextTokenizer:
    """Turns texts into token ids, cut to `max_length`. Immutable after construction, therefore thread-safe."""

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self.max_length = max_length

    @classmethod
    def from_folder(cls, folder: Path, max_length: int) -> TextTokenizer:
        """Read `tokenizer.json`. Raises ModelFolderError where it cannot be read."""
        try:
            return cls(Tokenizer.from_file(str(folder / "tokenizer.json")), max_length)
        except Exception as error:
            raise ModelFolderError(f"{folder}: tokenizer.json cannot be read ({error})") from error

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens included."""
        clean = [text if text.isascii() else text.encode("utf-8", "replace").decode() for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(clean)]


def micro_batches(
    ids: Sequence[Sequence[int]], pad: int, size: int = MICRO_BATCH
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor, torch.Tensor]]:
    """Yield `(rows, input_ids, attention_mask)` for texts of like length; `rows` are their positions in `ids`."""
    lengths = np.array([len(tokens) for tokens in ids], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        input_ids, mask = pad_ids([ids[row] for row in rows], pad)
        yield rows, input_ids, mask


def pad_ids(ids: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids padded to the longest, and the attention mask, both int64 of shape (n, longest)."""
    longest = max((len(tokens) for tokens in ids), default=0)
    input_ids = np.full((len(ids), longest), pad, dtype=np.int64)
    mask = np.zeros((len(ids), longest), dtype=np.int64)
    for row, tokens in enumerate(ids):
        input_ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return torch.from_numpy(input_ids), torch.from_numpy(mask)
