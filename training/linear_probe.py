"""Fitting a teacher: a linear head on a frozen sentence encoder, from labelled examples.

Multinomial logistic regression with weight decay, fitted by L-BFGS on all examples at once. Decay and temperature are
chosen by cross-validation, since the teacher's distributions are what a student learns from, and a head fitted on a few
examples a class fits them without any doubt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from core.data_files import check_labels, read_rows
from core.errors import DataError, ModelFolderError
from core.labels import LabelSet
from core.models.calibration import fit_temperature, nll
from core.models.folder import Card, verify_folder, write_folder
from core.models.linear_probe import LinearProbe, SentenceEncoder
from core.models.sources import resolve_encoder, weights_digest
from core.settings import LinearProbeSettings
from training.progress import Progress, Report, silent
from training.threads import one_thread
from training.versions import program_versions

_DECAYS: Final = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)  # falling, so that each fit starts near the one before
_FOLDS: Final = 5
_STEPS: Final = 100
_EMBEDDED_TOGETHER: Final = 256
_RECIPE: Final = "1"  # part of the cache key: change it when the fit changes

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted head: `logits = x @ weight.T + bias`, calibrated by `temperature`."""

    weight: NDArray[np.float32]
    """Shape (k, d)."""
    bias: NDArray[np.float32]
    """Shape (k,)."""
    temperature: float
    decay: float
    nll: float
    """Cross-validated, calibrated, in nats."""
    accuracy: float
    """Cross-validated."""


@one_thread()
def fit_head(embeddings: NDArray[np.float32], targets: NDArray[np.int64], classes: int, *, seed: int = 0) -> Head:
    """Fit a head on embeddings of shape (n, d) and class indices of shape (n,).

    Of a few weight decays, the one with the lowest calibrated cross-validated negative log-likelihood is taken. Folds
    are stratified, and drawn from `seed`.
    """
    inputs = embeddings.astype(np.float64)
    logits = _held_out_logits(inputs, targets, classes, _folds(targets, seed))
    temperatures = [fit_temperature(held, targets) for held in logits]
    losses = [nll(held, targets, temperature) for held, temperature in zip(logits, temperatures, strict=True)]
    best = int(np.argmin(losses))
    weight, bias = _fit(inputs, targets, classes, _DECAYS[best])
    return Head(
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        temperature=temperatures[best],
        decay=_DECAYS[best],
        nll=losses[best],
        accuracy=float((logits[best].argmax(axis=1) == targets).mean()),
    )


def fit_linear_probe(
    settings: LinearProbeSettings,
    labels: LabelSet,
    root: Path,
    *,
    task: str,
    report: Report = silent,
) -> Path:
    """Return the folder, below `root`, of the teacher that these settings describe; fit it where it is not there yet.

    The folder is named after a hash of the examples, the labels, the encoder's weights and this recipe.

    Raises DataError where an example cannot be used or a class has none, ModelFolderError where there is no such
    encoder.
    """
    rows = []
    for path in settings.examples:
        found = read_rows(path, label_column="label")
        check_labels(path, found, labels)
        rows += [(row.text, labels.index[row.label or ""]) for row in found]
    missing = sorted(set(range(len(labels))) - {target for _, target in rows})
    if missing:
        raise DataError(
            f"no labelled example of {labels.names[missing[0]]!r} ({len(missing)} of {len(labels)} classes have none); "
            "add some, or take the label out of the task"
        )
    source = resolve_encoder(settings.encoder)
    identity = (_RECIPE, labels.version, weights_digest(source), sorted(rows))
    digest = hashlib.sha256(msgspec.json.encode(identity)).hexdigest()
    folder = root / f"{task}-{digest[:16]}"
    if _stands(folder):
        return folder
    encoder = SentenceEncoder(settings.encoder)
    texts, targets = [text for text, _ in rows], np.array([target for _, target in rows], dtype=np.int64)
    head = fit_head(_embed(encoder, texts, report), targets, len(labels))
    card = Card(
        task=task,
        architecture="linear_probe",
        labels=list(labels.names),
        label_set=labels.version,
        temperature=head.temperature,
        metrics={"cross_validated_accuracy": head.accuracy, "cross_validated_nll": head.nll},
        data={"examples": len(rows), "sha256": digest},
        settings={"weight_decay": head.decay, "folds": _FOLDS},
        versions=program_versions(),
        base=settings.encoder,
    )
    return write_folder(folder, LinearProbe(encoder, labels.names, head.weight, head.bias), card)


def _stands(folder: Path) -> bool:
    if not folder.exists():
        return False
    try:
        verify_folder(folder)
    except ModelFolderError:
        return False  # made anew, in its place
    return True


def _embed(encoder: SentenceEncoder, texts: Sequence[str], report: Report) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(texts), _EMBEDDED_TOGETHER):
        report(Progress("fit", start, len(texts), "reading the teacher's examples"))
        parts.append(encoder.embed(texts[start : start + _EMBEDDED_TOGETHER])[0])
    report(Progress("fit", len(texts), len(texts), "fitting the teacher's head"))
    return np.concatenate(parts)


def _folds(targets: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A fold for each example; those of a class are spread evenly."""
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    by_class = shuffled[np.argsort(targets[shuffled], kind="stable")]
    folds = np.empty(len(targets), dtype=np.int64)
    folds[by_class] = np.arange(len(targets)) % _FOLDS
    return folds


def _held_out_logits(inputs: Matrix, targets: NDArray[np.int64], classes: int, folds: NDArray[np.int64]) -> Matrix:
    """Logits of each example from a head that did not see it, for each decay: shape (decays, n, k)."""
    logits = np.zeros((len(_DECAYS), len(inputs), classes))
    for fold in range(_FOLDS):
        held = folds == fold
        if not held.any():
            continue
        start: tuple[Matrix, Matrix] | None = None
        for row, decay in zip(logits, _DECAYS, strict=True):
            start = weight, bias = _fit(inputs[~held], targets[~held], classes, decay, start)
            row[held] = inputs[held] @ weight.T + bias
    return logits


def _fit(
    inputs: Matrix,
    targets: NDArray[np.int64],
    classes: int,
    decay: float,
    start: tuple[Matrix, Matrix] | None = None,
) -> tuple[Matrix, Matrix]:
    """Minimise `mean cross-entropy + decay/2 * |W|²`. Convex: a start nearby saves steps and changes nothing else."""
    features, answers = torch.from_numpy(inputs), torch.from_numpy(targets)
    initial = start or (np.zeros((classes, inputs.shape[1])), np.zeros(classes))
    weight, bias = (torch.from_numpy(part.copy()).requires_grad_() for part in initial)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-6)

    def objective() -> float:
        optimizer.zero_grad()
        loss = (
            torch.nn.functional.cross_entropy(features @ weight.T + bias, answers) + decay / 2 * weight.square().sum()
        )
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        return loss.item()

    optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch leaves it without types
    return weight.detach().numpy(), bias.detach().numpy()
