"""A student's model card: what it is, where it comes from, how it was measured."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

CARD_SCHEMA: Final = 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The card as data (`tutelage.json`). Everything needed to make the student again, or to refuse to."""

    task: str
    """The task that it was distilled for."""
    architecture: str
    """`ngram`, `encoder` or `linear_probe`."""
    labels: list[str]
    """The labels, in the order of the logits."""
    label_set: str
    """Version of the label set."""
    temperature: float = 1.0
    """Calibration: logits are divided by it."""
    templates: list[str] = []
    """Versions of the prompt templates that it was taught to read."""
    created: str = msgspec.field(default_factory=_now)
    """When, in UTC (ISO 8601)."""
    metrics: dict[str, float] = {}
    """What was measured on held-out data: `agreement`, `accuracy`, `nll`, `ece`, …"""
    data: dict[str, Any] = {}
    """Hashes and counts of the data that it learnt from."""
    settings: dict[str, Any] = {}
    """How it was trained."""
    seed: int = 0
    """Seed of everything random."""
    versions: dict[str, str] = {}
    """Versions of the programs that made it."""
    notes: str = ""
    """Anything a reader should know."""
    base: str = ""
    """The model it started from, where there is one."""
    licence: str = ""
    """Licence of the weights, inherited from the base and the teacher's terms."""
    schema: int = CARD_SCHEMA
    """Version of this card's format."""


_KINDS: Final = {
    "ngram": "hashed n-grams, an embedding bag and a linear head (numpy alone, microseconds on a CPU)",
    "encoder": "a Hugging Face sequence classifier",
    "linear_probe": "a linear head on a frozen sentence encoder",
}


def render_readme(card: Card) -> str:
    """The card for people: Markdown with Hugging Face's front matter."""
    parts = [_front_matter(card), f"# {card.task}\n", _summary(card)]
    if card.metrics:
        rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in card.metrics.items())
        parts.append(f"## Measured on held-out data\n\n| metric | value |\n| --- | ---: |\n{rows}\n")
    parts.append(_usage(card))
    for title, values in (("Data", card.data), ("Settings", card.settings), ("Made with", card.versions)):
        if values:
            parts.append(
                f"## {title}\n\n" + "\n".join(f"- {name}: `{_flat(value)}`" for name, value in values.items()) + "\n"
            )
    parts.append(
        f"## Labels\n\nLabel set `{card.label_set}`: " + ", ".join(f"`{label}`" for label in card.labels) + "\n"
    )
    if card.notes:
        parts.append(f"## Notes\n\n{card.notes}\n")
    return "\n".join(parts)


def _front_matter(card: Card) -> str:
    library = "tutelage" if card.architecture != "encoder" else "transformers"
    lines = ["---", f"library_name: {library}", "pipeline_tag: text-classification", "tags: [tutelage, distillation]"]
    if card.licence:
        lines.append(f"license: {_flat(card.licence)}")
    if card.base:
        lines.append(f"base_model: {_flat(card.base)}")
    return "\n".join([*lines, "---", ""])


def _summary(card: Card) -> str:
    return (
        f"Sorts messages into {len(card.labels)} classes. It is {_KINDS.get(card.architecture, card.architecture)}, "
        f"made by Tutelage on {card.created}, seed {card.seed}. "
        f"Its confidence is calibrated by dividing the logits by {card.temperature:.4g}.\n"
    )


def _usage(card: Card) -> str:
    return (
        "## Use\n\n"
        f"    python -m server.serve --model {card.task}=. --port 8081\n\n"
        f"serves it as `{card.task}` to any OpenAI client at `http://127.0.0.1:8081/v1`. Each answer is a label; "
        "`logprobs` with `top_logprobs` gives the likeliest twenty. `sha256sum -c SHA256SUMS` checks the files.\n"
    )


def _flat(value: Any) -> str:
    return " ".join(str(value).split())
