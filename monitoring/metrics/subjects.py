"""What is drawn of a task, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from monitoring.exposition import Page
from monitoring.metrics.agreement import draw_agreement
from monitoring.metrics.bands import draw_bands
from monitoring.metrics.calibration import draw_calibration
from monitoring.metrics.classes import draw_classes
from monitoring.metrics.detectors import draw_detectors
from monitoring.metrics.drift import draw_drift
from monitoring.metrics.feedback import draw_feedback
from monitoring.metrics.money import draw_money, draw_reports, draw_speed
from monitoring.metrics.task import draw_task
from monitoring.metrics.teacher import draw_teacher
from monitoring.metrics.wrongness import draw_wrongness
from monitoring.reader import TaskReader

SUBJECTS: Final[tuple[Callable[[Page, TaskReader], None], ...]] = (
    draw_task,
    draw_agreement,
    draw_detectors,
    draw_classes,
    draw_bands,
    draw_feedback,
    draw_calibration,
    draw_wrongness,
    draw_drift,
    draw_teacher,
    draw_money,
    draw_speed,
    draw_reports,
)
