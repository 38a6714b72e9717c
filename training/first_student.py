"""Day zero's work: a task's first student, from its prompts and its teacher.

`python -m training.first_student --config C --task T` tells on standard output, one JSON object a line, how far it is.
"""

from __future__ import annotations

from core.errors import BudgetExceededError
from core.settings import Settings
from training.lines import run_with_lines
from training.progress import Report, silent
from training.workflow import StudentRun, estimate_labelling, label_prompts, labels_file, make_student, read_prompts


def first_student(settings: Settings, task: str, report: Report = silent) -> StudentRun:
    """Have the teacher label the task's prompts, distil a student, and register it with its trust.

    Nobody is there to agree to a price, so a teacher that costs money, or may cost some, is only asked by
    `tutelage label`, whose answers are used here. Raises BudgetExceededError that says so; and what labelling,
    distilling and registering raise.
    """
    prompts = read_prompts(task, settings.task(task))
    needed = estimate_labelling(settings, task, prompts)
    if needed.calls and not needed.price.free:
        raise BudgetExceededError(
            f"labelling {needed.calls} prompts for {task!r} costs about ${needed.expected_usd:.2f}, which nobody has "
            f"agreed to; run `tutelage label --task {task} --budget USD` first"
        )
    examples, _ = label_prompts(settings, task, prompts, labels_file(settings, task), budget_usd=0.0, report=report)
    return make_student(settings, task, examples, report=report)


def describe(run: StudentRun, task: str) -> str:
    """One line about a finished student."""
    judged, registered = run.result.evaluation, run.registered
    role = "champion" if registered.champion else "candidate"
    return (
        f"Version {registered.version} of {task} is {role}: agrees with the teacher on {judged.agreement:.1%} of "
        f"{judged.examples} held-out texts, and may answer {registered.trusted} of {len(judged.classes)} classes."
    )


def _work(settings: Settings, task: str, report: Report) -> str:
    return describe(first_student(settings, task, report), task)


def main() -> int:
    """Entry point of `python -m training.first_student`."""
    return run_with_lines("training.first_student", __doc__, _work)


if __name__ == "__main__":
    raise SystemExit(main())
