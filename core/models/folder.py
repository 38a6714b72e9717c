"""A student's folder: Hugging Face's layout, a model card, checksums.

    config.json   model.safetensors   tokenizer files where needed
    tutelage.json    the card          README.md    the same for people       SHA256SUMS

A folder is written beside its place, forced to disk, and renamed: it is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from core.errors import ModelFolderError
from core.models.base import Classifier
from core.models.card import CARD_SCHEMA, Card, render_readme
from core.models.student import Student

CARD_FILE: Final = "tutelage.json"
SUMS_FILE: Final = "SHA256SUMS"
_REQUIRED: Final = ("config.json", CARD_FILE)

__all__ = ["CARD_SCHEMA", "Card", "Student", "load_student", "read_card", "verify_folder", "write_folder"]


def write_folder(folder: Path, model: Classifier, card: Card, extras: Mapping[str, bytes] | None = None) -> Path:
    """Write `model` and its card as `folder`, in place of what stood there; return `folder`.

    `extras` are further files, by name, that travel with the student. Raises ModelFolderError where the card is not of
    this model or the disk refuses.
    """
    if card.architecture != model.architecture or tuple(card.labels) != model.labels:
        raise ModelFolderError("the card does not describe this model: its architecture or its labels differ")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            model.save(beside)
            (beside / CARD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
            (beside / "README.md").write_text(render_readme(card), encoding="utf-8")
            for name, data in (extras or {}).items():
                (beside / name).write_bytes(data)
            (beside / SUMS_FILE).write_text(_sums(beside), encoding="utf-8")
            _make_readable(beside)
            install_folder(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise ModelFolderError(f"{folder}: cannot be written ({error})") from error
    return folder


def install_folder(source: Path, folder: Path) -> None:
    """Force `source` to disk and rename it to `folder`, which it replaces. Both are on one file system."""
    for path in [*source.rglob("*"), source]:
        _fsync(path)
    displaced: Path | None = None
    if folder.exists():
        displaced = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        folder.rename(displaced / "old")
    source.rename(folder)
    _fsync(folder.parent)
    if displaced is not None:
        shutil.rmtree(displaced, ignore_errors=True)


def verify_folder(folder: Path) -> str:
    """Check every file against SHA256SUMS; return the folder's digest, which is that of SHA256SUMS itself.

    Raises ModelFolderError that names the first file at fault.
    """
    expected = _read_sums(folder)
    for name in _REQUIRED:
        if name not in expected:
            raise ModelFolderError(f"{folder}: {SUMS_FILE} does not list {name}; this is no student's folder")
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            raise ModelFolderError(f"{folder}: {name} is missing; copy the folder again")
        if _digest(path) != digest:
            raise ModelFolderError(
                f"{folder}: {name} is not what {SUMS_FILE} says; it was altered or cut, copy it again"
            )
    return _digest(folder / SUMS_FILE)


def read_card(folder: Path) -> Card:
    """Read the card. Raises ModelFolderError where it is missing, damaged, or newer than this program."""
    path = folder / CARD_FILE
    try:
        data = path.read_bytes()
        schema = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema", b"0")
        if int(bytes(schema)) > CARD_SCHEMA:
            raise ModelFolderError(
                f"{folder}: the card has schema {int(bytes(schema))}, newer than {CARD_SCHEMA}, which this Tutelage "
                "knows; upgrade it"
            )
        return msgspec.json.decode(data, type=Card)
    except FileNotFoundError as error:
        raise ModelFolderError(f"{folder}: there is no {CARD_FILE}; this is no student's folder") from error
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise ModelFolderError(f"{folder}: {CARD_FILE} cannot be read ({error})") from error


def load_student(folder: Path, *, verify: bool = True) -> Student:
    """Load a student, after checking its folder. torch is imported only for architectures that need it.

    Raises ModelFolderError that says what is wrong with the folder.
    """
    if verify:
        verify_folder(folder)
    card = read_card(folder)
    model = _load_model(folder, card.architecture)
    if model.labels != tuple(card.labels):
        raise ModelFolderError(f"{folder}: the labels in config.json and in {CARD_FILE} differ")
    return Student(card, model)


def _load_model(folder: Path, architecture: str) -> Classifier:
    if architecture == "ngram":
        from core.models.ngram import NgramClassifier

        return NgramClassifier.load(folder)
    if architecture == "encoder":
        from core.models.encoder import EncoderClassifier

        return EncoderClassifier.load(folder)
    if architecture == "linear_probe":
        from core.models.linear_probe import LinearProbe

        return LinearProbe.load(folder)
    raise ModelFolderError(f"{folder}: unknown architecture {architecture!r}; valid are ngram, encoder, linear_probe")


def _sums(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS_FILE)
    return "".join(f"{_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)


def _read_sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise ModelFolderError(f"{folder}: there is no {SUMS_FILE}; this is no student's folder") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"{folder}: {SUMS_FILE} cannot be read ({error})") from error
    sums: dict[str, str] = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or name.startswith("/") or ".." in Path(name).parts:
            raise ModelFolderError(f"{folder}: {SUMS_FILE} has a line that is no checksum: {line[:80]!r}")
        sums[name] = digest
    return sums


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_readable(folder: Path) -> None:
    """The student server may run as another user than the trainer; temporary files start out private."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
