"""The monitor's metrics: one module a subject, each a function that draws its series of one task.

A new subject is a module here with a function `(page, reader) -> None`, and a line in `subjects`. Labels are closed:
tasks, versions and classes of the settings, enumerations; whatever else a word may be is `other`. What is added appears
in `docs/metrics.md` by `python -m tests.support.metrics_page > docs/metrics.md`, and a test compares.
"""

from monitoring.metrics.drawing import Metrics
from monitoring.metrics.subjects import SUBJECTS

__all__ = ["SUBJECTS", "Metrics"]
