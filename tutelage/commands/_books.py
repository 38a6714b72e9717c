"""What the commands about money know of a task: its settings, and what was accounted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.settings import load_settings
from tutelage.config import DEFAULT, find_config

if TYPE_CHECKING:
    from core.archive import Archive
    from core.ledger import Ledger
    from training.economics import Found

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was found, from when on (seconds since the epoch), and the stores that it is from."""

    found: Found
    since: float
    ledger: Ledger
    archive: Archive


def missing_options(
    queries: float | None, input_tokens: float | None, output_tokens: float | None, teacher: str | None
) -> list[str]:
    """Of what nobody may assume, the options that were not given. With all of it, no task is needed."""
    needed = {
        "--queries": queries,
        "--input-tokens": input_tokens,
        "--output-tokens": output_tokens,
        "--teacher": teacher,
    }
    return [option for option, value in needed.items() if value is None]


def means_a_task(task: str | None, config: Path | None, missing: list[str]) -> bool:
    """Whether a task of some settings is meant: one is named, or settings are here and something must be looked up."""
    return task is not None or config is not None or (bool(missing) and DEFAULT.is_file())


@contextmanager
def looked_up(config: Path | None, task: str | None, days: float) -> Iterator[Look]:
    """What settings, ledger and the last so many days of the archive say of a task, while the block runs.

    Raises SettingsError where the task is not clear, StateError where something cannot be read.
    """
    from core.archive import Archive
    from core.ledger import Ledger
    from training.economics import Found
    from training.economics.accounted import count_labels, read_accounted, read_retrainings
    from tutelage.commands._shared import chosen_task

    settings = load_settings(find_config(config))
    name, since = chosen_task(settings, task), time.time() - days * _DAY
    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        archive = Archive(settings.archive_url, ledger)
        found = Found(
            task=name,
            settings=settings.task(name),
            accounted=read_accounted(archive, name, since),
            retrainings=read_retrainings(ledger, name),
            labels=count_labels(settings.labels_folder / f"{name}.jsonl"),
        )
        yield Look(found, since, ledger, archive)
    finally:
        ledger.close()
