"""What the owner of a task is asked, and how the answers are read: from options, from a file, or typed in."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import yaml

from core.errors import SettingsError
from core.settings.suggest import suggest
from training.advice.facts import Drift, Kind, Privacy, Tried

_Positive = Annotated[float, msgspec.Meta(gt=0)]
_NotNegative = Annotated[float, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Price = tuple[_NotNegative, _NotNegative]


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answers; None: not given. A file of answers has these names as keys, the options the same with hyphens."""

    kind: Kind | None = None
    classes: Annotated[int, msgspec.Meta(ge=2)] | None = None
    queries: Annotated[float, msgspec.Meta(ge=1)] | None = None
    input_tokens: _NotNegative | None = None
    output_tokens: _NotNegative | None = None
    teacher: str | None = None
    quality: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] | None = None
    may_train: bool | None = None
    privacy: Privacy | None = None
    latency_ms: _NotNegative | None = None
    drift: Drift | None = None
    labelled: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tried: Tried | None = None
    smaller: str | None = None
    teacher_price: _Price | None = None
    smaller_price: _Price | None = None
    fallback: _Share | None = None
    hosting_usd: _NotNegative | None = None
    once_usd: _NotNegative | None = None


QUESTIONS: Final[dict[str, str]] = {
    "kind": "What is the job? classification, extraction (values chosen from fixed ones), or generation (open text)",
    "classes": "How many different answers are there",
    "queries": "How many queries a month",
    "input_tokens": "Tokens of a prompt, in the mean",
    "output_tokens": "Tokens of an answer, in the mean",
    "teacher": "Which model answers now",
    "quality": "What share of the answers must be as good as its own, such as 0.95",
    "may_train": "Do its provider's terms allow that its answers train a model (yes or no)",
    "privacy": (
        "Where may the data go? teacher (for labels and comparisons as well), requests (in what clients send there "
        "themselves alone), or house (nowhere)"
    ),
    "latency_ms": "How many milliseconds may an answer take in the median (0: it does not matter)",
    "drift": "How often does the job change so that what was learnt no longer fits? yearly, monthly, weekly or daily",
    "labelled": "How many examples have people labelled",
    "tried": "Was a smaller hosted model tried, with a prompt made for it? no, good (it does the job) or bad",
}
"""What must be known, in the order in which it is asked. All else has a default, or a price table."""

_WORDS: Final = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def read_answers(path: Path) -> Answers:
    """Read a YAML file of answers. Raises SettingsError, naming the key, where one cannot be understood."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); name a YAML file of answers") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: must hold answers by name, such as `queries: 300000`")
    fields = Answers.__struct_fields__
    for key in document:
        if key not in fields:
            raise SettingsError(f"{path}: unknown answer {str(key)!r}; {suggest(str(key), fields)}")
    # YAML reads a bare `no` as false, and that is an answer of `tried`.
    if document.get("tried") is False:
        document["tried"] = Tried.NO.value
    try:
        return msgspec.convert(document, Answers)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {error}") from error


def answered(answers: Answers, values: dict[str, Any]) -> Answers:
    """The same with these values in the place of what they name; None stands for no answer.

    Raises SettingsError where one is out of bounds.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return msgspec.convert(msgspec.to_builtins(answers) | given, Answers)
    except msgspec.ValidationError as error:
        raise SettingsError(f"an answer cannot be used: {error}") from error


def parse(name: str, text: str) -> Any:
    """What was typed in as the answer `name`. Raises ValueError that says what is wanted."""
    typed: Any = text.strip()
    if name == "may_train":
        typed = _WORDS.get(typed.casefold(), typed)
    elif isinstance(typed, str) and name in {"kind", "privacy", "drift", "tried"}:
        typed = typed.casefold()
    try:
        found = msgspec.convert({name: typed}, Answers, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).partition(" - at ")[0].replace(" | null", "")) from error
    return getattr(found, name)


def missing(answers: Answers, known: Collection[str] = ()) -> list[str]:
    """The questions without an answer, in their order, but for those whose answer is `known` otherwise."""
    return [
        name
        for name in QUESTIONS
        if getattr(answers, name) is None
        and name not in known
        and not (name == "classes" and answers.kind is Kind.GENERATION)
    ]
