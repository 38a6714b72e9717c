"""What the teacher has answered already, kept line by line, so that a stopped labelling goes on where it was."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

import msgspec

from core.errors import DataError
from core.labels import LabelSet
from core.settings import TeacherSettings
from core.teacher import TeacherAnswer


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    key: str
    label: str | None = None
    distribution: dict[str, float] = {}
    method: Literal["distribution", "logprobs", "vote"] = "vote"
    prompt_tokens: int = 0
    completion_tokens: int = 0


def answer_key(text: str, labels: LabelSet, teacher: TeacherSettings) -> str:
    """Return the key of an answer: whatever changes the question changes the key."""
    question = (teacher.base_url, teacher.model, teacher.ask, teacher.instructions, labels.version, text)
    return hashlib.sha256(msgspec.json.encode(question)).hexdigest()


class AnswerCache:
    """An append-only JSONL file of answers, and the same in memory. A context manager; one process at a time.

    A line that a killed process left half-written is cut off at the next start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, TeacherAnswer] = {}
        self._file: BinaryIO | None = None
        self._encoder = msgspec.json.Encoder()

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists():
                with self._path.open("r+b") as file:
                    self._load(file)
            self._file = self._path.open("ab")
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written ({error.strerror})") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def get(self, key: str) -> TeacherAnswer | None:
        """The answer under `key`, or None where the teacher has not been asked."""
        return self._answers.get(key)

    def put(self, key: str, answer: TeacherAnswer) -> None:
        """Keep an answer. It is in the operating system's hands when this returns."""
        if self._file is None:
            raise ValueError("the cache is not open")
        line = _Line(
            key, answer.label, answer.distribution, answer.method, answer.prompt_tokens, answer.completion_tokens
        )
        try:
            self._file.write(self._encoder.encode(line) + b"\n")
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self._path}: cannot be written ({error.strerror}); free some space, then go on"
            ) from error
        self._answers[key] = answer

    def _load(self, file: BinaryIO) -> None:
        decoder = msgspec.json.Decoder(_Line)
        whole = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                kept = decoder.decode(line)
            except msgspec.DecodeError as error:
                raise DataError(
                    f"{self._path}, row {number}: is damaged ({error}); delete the row, then go on"
                ) from error
            self._answers[kept.key] = TeacherAnswer(
                kept.label, kept.distribution, kept.method, kept.prompt_tokens, kept.completion_tokens
            )
            whole += len(line)
        file.truncate(whole)
