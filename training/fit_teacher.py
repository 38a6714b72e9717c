"""Fit the teacher that a task's settings describe, as a process of its own.

`python -m training.fit_teacher --config C --task T` tells on standard output, one JSON object a line, how far it is;
the last line's message is the teacher's folder.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import SettingsError
from core.settings import Settings
from training.lines import run_with_lines
from training.progress import Report, silent


def fit_teacher(settings: Settings, name: str, report: Report = silent) -> Path:
    """Fit the teacher of the task `name`, unless it stands already, and return its folder.

    Raises SettingsError where the task's teacher is served by somebody else, and what fitting raises.
    """
    from training.linear_probe import fit_linear_probe  # torch and transformers: only where a teacher is fitted

    task = settings.task(name)
    if task.teacher.linear_probe is None:
        raise SettingsError(f"tasks.{name}.teacher.linear_probe is not set: its teacher is served by somebody else")
    root = settings.state / "teachers"
    return fit_linear_probe(task.teacher.linear_probe, task.label_set(), root, task=name, report=report)


def _work(settings: Settings, task: str, report: Report) -> str:
    return str(fit_teacher(settings, task, report))


def main() -> int:
    """Entry point of `python -m training.fit_teacher`."""
    return run_with_lines("training.fit_teacher", __doc__, _work)


if __name__ == "__main__":
    raise SystemExit(main())
