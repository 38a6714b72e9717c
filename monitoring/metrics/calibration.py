"""How well confidence tells agreement, and the agreement that it tells."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from monitoring.exposition import Page
from monitoring.metrics.classes import age
from monitoring.metrics.detectors import draw_detector
from monitoring.reader import TaskReader
from monitoring.signals import CALIBRATION
from monitoring.statistics.calibration import ece_of, noise_of
from monitoring.version import VersionState


def draw_calibration(page: Page, reader: TaskReader) -> None:
    """Scores without a sampling theory, which are descriptive; the detector of overconfidence; expected agreement."""
    watched = reader.state.watched
    if watched is None:
        return
    labels = {"version": watched.version}
    page.keep(("calibration", watched.version), age(watched.number), partial(_draw_ece, watched=watched))
    calibration, distributions = watched.calibration, watched.distributions
    scores: Mapping[str, tuple[str, float | None]] = {
        "class_ece": ("Class-wise calibration error of the whole distribution. Descriptive.", distributions.ece),
        "class_ece_by_chance": ("About what class_ece is by chance, with perfect calibration.", distributions.noise),
        "brier": ("Brier score of the confidence. Descriptive.", calibration.brier),
        "class_brier": ("Brier score of the whole distribution, 0 to 2. Descriptive.", distributions.brier),
        "nll": ("Mean negative log-likelihood of the teacher's label, in nats. Descriptive.", calibration.nll),
        "overconfidence": (
            "Mean confidence less agreement, over compared answers. Descriptive; its detector holds a promise.",
            watched.overconfidence.excess,
        ),
    }
    for name, (text, score) in scores.items():
        page.gauge(name, text, score, labels)
    draw_detector(page, CALIBRATION, watched.overconfidence.value, reader.rules.calibration_limit)
    _draw_expected(page, watched)


def _draw_ece(page: Page, *, watched: VersionState) -> None:
    labels, calibration = {"version": watched.version}, watched.calibration
    for name, bins in (("equal_width", calibration.reliability()), ("equal_mass", calibration.equal_mass())):
        noise = noise_of(bins)
        by = labels | {"bins": name}
        page.gauge("ece", "Expected calibration error, ten bins. Descriptive.", ece_of(bins), by)
        page.gauge(
            "ece_by_chance",
            "What a perfectly calibrated student would show with as many comparisons, in the mean.",
            None if noise is None else noise.mean,
            by,
        )
        page.gauge(
            "ece_by_chance_upper",
            "What a perfectly calibrated student would pass once in twenty times: what is below is noise.",
            None if noise is None else noise.upper,
            by,
        )
    for low, one in enumerate(calibration.reliability()):
        by = labels | {"bin": f"{low / 10:g}"}
        page.gauge(
            "reliability_agreement",
            "Agreement in a tenth of the confidence, named by where it begins. Descriptive.",
            None if one is None else one.agreement,
            by,
        )
        page.gauge(
            "reliability_confidence",
            "Mean confidence in the same tenth.",
            None if one is None else one.confidence,
            by,
        )


def _draw_expected(page: Page, watched: VersionState) -> None:
    text = "Agreement expected by the student's confidence over all exchanges (CBPE). It does not see concept drift."
    of_class = "The same for the answers of a class. It does not see concept drift."
    expected = watched.expected
    for span, lately in (("version", False), ("recent", True)):
        page.gauge(
            "expected_agreement",
            text,
            expected.overall(lately=lately),
            {"version": watched.version, "span": span},
        )
        for label in expected.whole:
            by = {"class": label, "span": span}
            page.gauge("class_expected_agreement", of_class, expected.of(label, lately=lately), by)
