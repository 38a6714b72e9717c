"""The steps `data` and `candidate`."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from core.errors import DataError
from core.ledger import Run
from core.models.folder import read_card
from core.settings import TaskSettings
from training.data import Taught, assemble, counts_by_source, digest, parts_of
from training.distil import distil_parts
from training.examples import read_examples, write_examples
from training.labelling import require_may_train
from training.runs.context import RunContext
from training.runs.label_recent import label_recent
from training.runs.results import About, CandidateResult, DataResult, needed
from training.taught import read_taught
from training.traffic import Sample, read_traffic
from training.workflow import labels_file, read_gold

DATA_FILE: Final = "data.jsonl"
"""Name of the file with a run's data, in its folder."""


def collect_data(context: RunContext, run: Run) -> DataResult:
    """Gather, have labelled, weigh and split what the candidate learns from and is judged by; write it down.

    Raises PermissionDeniedError where the teacher's answers may not train, TeacherError where it fails.
    """
    task, about = context.task(run), needed(run, "about", About)
    require_may_train(task.teacher, run.task)
    settings = task.retrain
    traffic = read_traffic(
        context.archive,
        run.task,
        task.label_set(),
        recent_since=about.recent_since,
        limit=settings.max_examples,
    )
    # Read after the archive: what is forgotten later than this, the trainer takes out of the file again.
    tombstones = context.ledger.forgotten.tombstones()
    tombstones.refresh()
    traffic = traffic.without(tombstones.has)
    notes = [f"{traffic.foreign} answers have labels that the task no longer has"] if traffic.foreign else []
    labelled, asked, cost = label_recent(context, run, traffic, about, notes)
    newest_first = sorted([*traffic.answered, *labelled], key=lambda sample: (-sample.at, sample.exchange))
    samples = assemble(
        [*newest_first, *_from_files(context, run, task)],
        settings,
        _what_champion_was_taught(context, run),
        recent_since=about.recent_since,
        kept_apart=[e.text for e in read_gold(task, [*task.data.evaluation, *task.data.golden])],
        salt=run.id,
    )
    write_examples(data_file(context, run), samples)
    gate = [sample for sample in samples if sample.gate]
    parts = parts_of(samples)
    return DataResult(
        sha256=digest(samples),
        examples=len(samples),
        train=len(parts.train),
        calibration=len(parts.calibration),
        holdout=len(parts.holdout),
        gate=len(gate),
        gate_recent=sum(sample.recent for sample in gate),
        sources=counts_by_source(samples),
        asked=asked,
        cost_usd=cost,
        salt=run.id,
        notes=notes,
    )


def make_candidate(context: RunContext, run: Run) -> CandidateResult:
    """Distil the candidate into the run's folder `student`. Raises DataError where there is too little data."""
    task, data = context.task(run), needed(run, "data", DataResult)
    started = time.monotonic()
    result = distil_parts(
        run.task,
        task,
        parts_of(read_samples(context, run)),
        candidate_folder(context, run),
        report=context.report,
        data={"run": run.id, "run_sha256": data.sha256, "sources": data.sources, "split_salt": data.salt},
        templates=context.ledger.templates.in_force(run.task, task.compiled_templates()),
    )
    return CandidateResult(
        architecture=result.card.architecture,
        seed=result.card.seed,
        seconds=time.monotonic() - started,
        agreement=result.evaluation.agreement,
        trusted=sum(verdict.trusted for verdict in result.verdicts),
        metrics=dict(result.card.metrics),
    )


def candidate_folder(context: RunContext, run: Run) -> Path:
    """Where the run's candidate lies."""
    return context.folder(run) / "student"


def champion_folder(context: RunContext, run: Run) -> Path:
    """Where the run keeps the champion that it is measured against; fetched where it is not there yet."""
    folder = context.folder(run) / "champion"
    return folder if folder.is_dir() else context.registry.fetch(run.task, run.champion, folder)


def data_file(context: RunContext, run: Run) -> Path:
    """The run's data: one `Sample` a line."""
    return context.folder(run) / DATA_FILE


def read_samples(context: RunContext, run: Run) -> list[Sample]:
    """The run's data. Raises DataError where the file has gone or is damaged."""
    path, decoder = data_file(context, run), msgspec.json.Decoder(Sample)
    try:
        return [decoder.decode(line) for line in path.read_bytes().splitlines()]
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path}: the run's data cannot be read ({error}); start another run") from error


def _what_champion_was_taught(context: RunContext, run: Run) -> Taught:
    folder = champion_folder(context, run)
    created = datetime.fromisoformat(read_card(folder).created).timestamp()
    return Taught(read_taught(folder), created)


def _from_files(context: RunContext, run: Run, task: TaskSettings) -> list[Sample]:
    """The task's prompts as far as they were labelled, and its gold labels."""
    labelled = labels_file(context.settings, run.task)
    prompts = read_examples(labelled, task.label_set()) if labelled.is_file() else []
    return [Sample(example) for example in (*prompts, *read_gold(task, task.data.labelled))]
