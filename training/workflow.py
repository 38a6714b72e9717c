"""The steps of making a student, on a task's own files and stores. Commands and the first student are made of these."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core import ids
from core.data_files import check_labels, read_rows
from core.errors import DataError, TeacherError
from core.ledger import Ledger
from core.registry import Registry
from core.settings import Settings, TaskSettings
from training.answers import AnswerCache
from training.distil import DistilResult, distil
from training.examples import Example, from_answer, write_examples
from training.labelling import Estimate, Labelling, estimate, label, require_may_train, require_permission
from training.progress import Progress, Report, silent
from training.register import Registered, register


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to be labelled, with the file that it is from."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class StudentRun:
    """One student from examples to registry."""

    run: str
    result: DistilResult
    registered: Registered


def labels_file(settings: Settings, task: str) -> Path:
    """Where a task's labelled examples are kept."""
    return settings.labels_folder / f"{task}.jsonl"


def answers_file(settings: Settings, task: str) -> Path:
    """Where the teacher's answers are kept, line by line, so that labelling can go on."""
    return settings.labels_folder / f"{task}.answers.jsonl"


def open_registry(settings: Settings) -> Registry:
    """The registry of these settings."""
    return Registry(settings.registry_url, settings.state / "artifacts")


def read_prompts(name: str, task: TaskSettings, files: Sequence[Path] = ()) -> list[Prompt]:
    """The texts to label, each once: those of `files`, else of the task's `data.prompts`. Labels are not looked at."""
    paths = list(files) or task.data.prompts
    if not paths:
        raise DataError(
            f"tasks.{name}.data.prompts names no file, so there is nothing to label; add one, or give --file"
        )
    unique: dict[str, Prompt] = {}
    for path in paths:
        for row in read_rows(path):
            unique.setdefault(row.text, Prompt(row.text, path.name))
    return list(unique.values())


def read_gold(task: TaskSettings, paths: Sequence[Path]) -> list[Example]:
    """Rows with `text` and `label` as examples with gold labels. Raises DataError for a label that the task lacks."""
    examples = []
    for path in paths:
        rows = read_rows(path, label_column="label")
        check_labels(path, rows, task.label_set())
        examples += [Example(row.text, row.label, source=path.name) for row in rows]
    return examples


def estimate_labelling(settings: Settings, name: str, prompts: Sequence[Prompt]) -> Estimate:
    """What labelling these prompts would take, after what is answered already."""
    task = settings.task(name)
    require_permission(task.teacher, name)
    with AnswerCache(answers_file(settings, name)) as cache:
        return estimate([prompt.text for prompt in prompts], task.label_set(), task.teacher, cache)


def label_prompts(
    settings: Settings,
    name: str,
    prompts: Sequence[Prompt],
    output: Path,
    *,
    budget_usd: float | None,
    report: Report = silent,
) -> tuple[list[Example], Labelling]:
    """Have the teacher label the prompts and write the readable answers to `output`.

    Raises what `training.labelling.label` raises, and TeacherError where not one answer can be read.
    """
    task = settings.task(name)
    texts = [prompt.text for prompt in prompts]
    with AnswerCache(answers_file(settings, name)) as cache:
        labelling = asyncio.run(
            label(texts, task.label_set(), task.teacher, cache, task=name, budget_usd=budget_usd, report=report)
        )
    examples = [
        from_answer(prompt.text, answer, source=prompt.source)
        for prompt, answer in zip(prompts, labelling.answers, strict=True)
        if answer is not None
    ]
    if not examples:
        sample = f", for example {labelling.sample!r}" if labelling.sample else ""
        raise TeacherError(
            f"none of the teacher's {len(texts)} answers is one of the task's labels{sample}; a teacher that does not "
            f"know the labels needs tasks.{name}.teacher.ask: choose"
        )
    write_examples(output, examples)
    return examples, labelling


def make_student(
    settings: Settings,
    name: str,
    examples: Sequence[Example],
    *,
    promote: bool = False,
    report: Report = silent,
    actor: str = "trainer",
) -> StudentRun:
    """Distil a student from labelled examples and the task's own gold labels, and register it.

    Its folder and its evaluation are kept below `runs/<run id>/` in the state folder.
    """
    task = settings.task(name)
    if any(example.teacher is not None for example in examples):
        require_may_train(task.teacher, name)
    run = ids.mint("run")
    folder = settings.state / "runs" / run
    known = [*examples, *read_gold(task, task.data.labelled)]
    kept_apart = [example.text for example in read_gold(task, task.data.evaluation)]
    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        result = distil(
            name,
            task,
            known,
            folder / "student",
            report=report,
            evaluation_texts=kept_apart,
            templates=ledger.templates.in_force(name, task.compiled_templates()),
        )
        _write_evaluation(folder, result)
        report(Progress("register", 0, 1))
        registered = register(
            open_registry(settings),
            ledger,
            name,
            result.folder,
            result.verdicts,
            threshold=result.threshold,
            promote=promote,
            actor=actor,
            run=run,
        )
    finally:
        ledger.close()
    report(Progress("register", 1, 1))
    return StudentRun(run, result, registered)


def _write_evaluation(folder: Path, result: DistilResult) -> None:
    judged = {
        "evaluation": dataclasses.asdict(result.evaluation),
        "trust": [dataclasses.asdict(v) for v in result.verdicts],
    }
    (folder / "evaluation.json").write_bytes(msgspec.json.format(msgspec.json.encode(judged), indent=2) + b"\n")
