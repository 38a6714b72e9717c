"""The recipe: split, teach, calibrate, judge, write the folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.clusters import cluster_key
from core.errors import DataError, SettingsError
from core.labels import LabelSet
from core.models.base import Classifier
from core.models.calibration import fit_temperature, softmax
from core.models.folder import Card, write_folder
from core.settings import DistilSettings, TaskSettings
from core.templates import Template
from monitoring.statistics.selective import Selection
from training.cascade import judge_threshold
from training.evaluation import Evaluation, evaluate
from training.examples import Example, deduplicate, examples_digest, gold_labels, hard_labels, target_distributions
from training.ngram import OnEpoch
from training.progress import Progress, Report, silent
from training.splits import split
from training.taught import TAUGHT_FILE, pack_taught
from training.trust import Verdict, judge_classes
from training.versions import program_versions


@dataclass(frozen=True, slots=True)
class Parts:
    """Examples by what they are for. No cluster of near-duplicates stands in two of them."""

    train: Sequence[Example]
    calibration: Sequence[Example]
    """Fits the temperature."""
    holdout: Sequence[Example]
    """Judges; neither taught nor calibrated."""


@dataclass(frozen=True, slots=True)
class DistilResult:
    """A student on disk, and what is known of it."""

    folder: Path
    card: Card
    evaluation: Evaluation
    """On the hold-out, which neither taught nor calibrated."""
    verdicts: tuple[Verdict, ...]
    """Which classes it may answer."""
    threshold: Selection | None = None
    """From which confidence on; None: `trust.min_confidence`."""


def distil(
    name: str,
    task: TaskSettings,
    examples: Sequence[Example],
    folder: Path,
    *,
    report: Report = silent,
    evaluation_texts: Collection[str] = (),
    templates: Sequence[Template] | None = None,
) -> DistilResult:
    """Distil a student of the task `name` from labelled examples and write it as `folder`.

    `templates` are the prompt templates that it is to read; by default those of the settings.

    Texts that are near-duplicates of `evaluation_texts` are left out: they are kept for evaluation. The rest is split
    by the hash of their clusters. Raises DataError where there are too few examples for that.
    """
    usable = _usable(examples, evaluation_texts)
    places = split([example.text for example in usable], salt=f"{name}:{task.distil.seed}")
    train, calibration, holdout = (
        [usable[i] for i in part] for part in (places.train, places.calibration, places.holdout)
    )
    return distil_parts(name, task, Parts(train, calibration, holdout), folder, report=report, templates=templates)


def distil_parts(
    name: str,
    task: TaskSettings,
    parts: Parts,
    folder: Path,
    *,
    report: Report = silent,
    data: Mapping[str, Any] | None = None,
    templates: Sequence[Template] | None = None,
) -> DistilResult:
    """Distil a student from examples that are split already; `data` is what else its card says of them.

    `templates` are the prompt templates that it is to read; by default those of the settings.

    The temperature is fitted on the calibration part, the figures come from the hold-out, and trust from both: one
    number fitted on a few hundred texts leaves them as good as unseen, and trust needs every answer it can get.

    Raises DataError where there are too few examples.
    """
    labels = task.label_set()
    _require_enough(parts)

    def on_epoch(done: int, total: int, loss: float) -> None:
        report(Progress("train", done, total, f"loss {loss:.3f}"))

    student, how = teach(task.distil, labels, parts.train, on_epoch=on_epoch)
    report(Progress("calibrate", 0, 1))
    calibration, holdout = _held_out(parts)
    held, first = [*calibration, *holdout], len(calibration)
    logits, answers = student.forward([example.text for example in held]).logits, hard_labels(held, labels)
    temperature = fit_temperature(logits[:first], answers[:first])
    probabilities = softmax(logits, temperature)
    evaluation = evaluate(
        probabilities[first:],
        answers[first:],
        gold_labels(held[first:], labels),
        labels.names,
        min_confidence=task.trust.min_confidence,
    )
    verdicts = judge_classes(probabilities, answers, labels, task.trust)
    threshold = judge_threshold(probabilities.max(axis=1), probabilities.argmax(axis=1), answers, verdicts, task.trust)
    report(Progress("calibrate", 1, 1))
    card = Card(
        task=name,
        architecture=task.distil.architecture,
        labels=list(labels.names),
        label_set=labels.version,
        temperature=temperature,
        templates=[template.version for template in templates or task.compiled_templates()],
        metrics=evaluation.metrics() | {"trusted_classes": float(sum(verdict.trusted for verdict in verdicts))},
        data=_describe(parts) | dict(data or {}),
        settings=task.distil.model_dump(mode="json") | {"training": how, "teacher": task.teacher.model},
        seed=task.distil.seed,
        versions=program_versions(),
        base=task.distil.encoder or "" if task.distil.architecture == "encoder" else "",
    )
    taught = pack_taught(example.text for example in (*parts.train, *parts.calibration))
    written = write_folder(folder, student, card, {TAUGHT_FILE: taught})
    return DistilResult(written, card, evaluation, tuple(verdicts), threshold)


def teach(
    settings: DistilSettings, labels: LabelSet, examples: Sequence[Example], *, on_epoch: OnEpoch | None = None
) -> tuple[Classifier, dict[str, Any]]:
    """Train a student on all the examples; return it with the hyper-parameters that it was trained with.

    torch is imported here, with the architecture that is asked for. Raises SettingsError where an encoder is asked for
    and none is named.
    """
    texts = [example.text for example in examples]
    targets, hard = target_distributions(examples, labels), hard_labels(examples, labels)
    weights = np.array([example.weight for example in examples], dtype=np.float32)
    given: dict[str, Any] = {"temperature": settings.temperature}
    if settings.epochs is not None:
        given["epochs"] = settings.epochs
    if settings.architecture == "encoder":
        from core.models.encoder import EncoderClassifier
        from core.models.sources import resolve_encoder
        from training.encoder import EncoderTraining, train_encoder

        if settings.encoder is None:
            raise SettingsError(
                "distil.encoder is not set; name the folder, or package:path, of the model to start from"
            )
        untrained = EncoderClassifier.cut(
            resolve_encoder(settings.encoder), settings.encoder_layers, labels.names, seed=settings.seed
        )
        fine_tuning = EncoderTraining(**given)
        encoder = train_encoder(
            untrained, texts, targets, hard, weights, fine_tuning, seed=settings.seed, on_epoch=on_epoch
        )
        return encoder, asdict(fine_tuning)
    from core.models.ngram import NgramConfig
    from training.ngram import NgramTraining, train_ngram

    training = NgramTraining(**{"epochs": NgramTraining.usual_epochs(len(examples)), **given})
    config = NgramConfig(labels=labels.names)
    ngram = train_ngram(config, texts, targets, hard, weights, training, seed=settings.seed, on_epoch=on_epoch)
    return ngram, asdict(training)


def _usable(examples: Sequence[Example], evaluation_texts: Collection[str]) -> list[Example]:
    kept_apart = {cluster_key(text) for text in evaluation_texts}
    return [example for example in deduplicate(examples) if cluster_key(example.text) not in kept_apart]


def _held_out(parts: Parts) -> tuple[list[Example], list[Example]]:
    """Calibration and hold-out. Where a teacher was asked, those that it answered: agreement is agreement with it."""
    everything = (*parts.train, *parts.calibration, *parts.holdout)
    asked = any(example.teacher is not None for example in everything)
    calibration, holdout = (
        [example for example in part if example.teacher is not None or not asked]
        for part in (parts.calibration, parts.holdout)
    )
    if not calibration or not holdout:
        raise DataError("the teacher has labelled too few examples to judge a student; label some hundred")
    return calibration, holdout


def _require_enough(parts: Parts) -> None:
    if not parts.train or not parts.calibration or not parts.holdout:
        examples = len(parts.train) + len(parts.calibration) + len(parts.holdout)
        raise DataError(
            f"{examples} different examples are too few to teach, calibrate and judge a student; "
            "label at least 100, better 20 a class"
        )


def _describe(parts: Parts) -> dict[str, Any]:
    examples = (*parts.train, *parts.calibration, *parts.holdout)
    return {
        "sha256": examples_digest(examples),
        "examples": len(examples),
        "train": len(parts.train),
        "calibration": len(parts.calibration),
        "holdout": len(parts.holdout),
        "methods": sorted({example.method for example in examples}),
    }
