"""Prometheus' text format, written once and then only handed out: a scrape costs no rendering."""

from __future__ import annotations

import math
from collections.abc import Mapping


class Exposition:
    """Series by family, in the order in which the families were first named."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}
        self._heads: dict[str, str] = {}

    def gauge(self, name: str, text: str, value: float | None, labels: Mapping[str, str]) -> None:
        """Add a gauge's series; None, where nothing is known, is NaN."""
        self._add(name, "gauge", text, math.nan if value is None else value, labels)

    def counter(self, name: str, text: str, value: float, labels: Mapping[str, str]) -> None:
        """Add a counter's series; `name` ends in `_total`."""
        self._add(name, "counter", text, value, labels)

    def render(self) -> bytes:
        """The text."""
        lines = [line for name, series in self._families.items() for line in (self._heads[name], *series)]
        return ("\n".join(lines) + "\n").encode()

    def _add(self, name: str, kind: str, text: str, value: float, labels: Mapping[str, str]) -> None:
        if name not in self._families:
            self._families[name] = []
            self._heads[name] = f"# HELP {name} {text}\n# TYPE {name} {kind}"
        pairs = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
        number = "NaN" if math.isnan(value) else repr(float(value))
        self._families[name].append(f"{name}{{{pairs}}} {number}")


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
