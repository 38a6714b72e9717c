"""The teacher of a task whose settings say `linear_probe`: fitted once, then found again by its content.

`python -m training.fit_teacher --config C --task T` tells on standard output, one JSON object a line, how far it is.
The last line's message is the teacher's folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from core.errors import SettingsError
from core.settings import Settings
from training.lines import run_with_lines
from training.progress import Report, silent


def fit_teacher(settings: Settings, task: str, report: Report = silent) -> Path:
    """Return the folder of the task's own teacher, below `teachers` in the state folder; fit it where it is not there.

    Raises SettingsError where the task's teacher is not one that Tutelage makes.
    """
    from training.linear_probe import fit_linear_probe  # torch and transformers, not for a mere --help

    task_settings = settings.task(task)
    probe = task_settings.teacher.linear_probe
    if probe is None:
        raise SettingsError(f"tasks.{task}.teacher.linear_probe is not set; this teacher is not made by Tutelage")
    return fit_linear_probe(
        probe, task_settings.label_set(), settings.state / "teachers", task=task_settings.teacher.model, report=report
    )


def _work(settings: Settings, task: str, report: Report) -> str:
    return str(fit_teacher(settings, task, report))


def main() -> int:
    """Entry point of `python -m training.fit_teacher`."""
    parser = argparse.ArgumentParser(prog="training.fit_teacher", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--task", required=True)
    arguments = parser.parse_args()
    return run_with_lines("trainer", arguments.config, _work, arguments.task)


if __name__ == "__main__":
    raise SystemExit(main())
