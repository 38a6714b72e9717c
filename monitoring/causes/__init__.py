"""The causes of alarms, one module each.

To add one: name it in `monitoring.signals.SIGNALS`, derive from `Cause`, put it into `standard_causes`; where it may
retrain, add it to `watch.retrain_on`.
"""

from __future__ import annotations

from core.ledger import Ledger
from core.settings import WatchSettings
from monitoring.causes.agreement import ClassAgreement, StudentAgreement
from monitoring.causes.below_earlier import BelowEarlierLevel
from monitoring.causes.calibration import Overconfidence
from monitoring.causes.cause import Cause, Finding, Look, Loss
from monitoring.causes.confident_wrongness import ConfidentWrongnessRose
from monitoring.causes.feedback import FeedbackAccuracy
from monitoring.causes.input_drift import InputDrift
from monitoring.causes.new_class import NewClass
from monitoring.causes.served import ServedAgreement
from monitoring.causes.staleness import StaleEvidence
from monitoring.causes.teacher_drift import TeacherDrift

__all__ = ["Cause", "Finding", "Look", "Loss", "standard_causes"]


def standard_causes(task: str, ledger: Ledger, watch: WatchSettings) -> tuple[Cause, ...]:
    """The causes that a task is watched for, in the order in which they are reviewed.

    `task` and `ledger` are for causes whose evidence is not in the state. Each review asks all of them, at least every
    `monitor.snapshot_seconds`, also while no traffic comes.
    """
    return (
        StudentAgreement(watch),
        ClassAgreement(watch),
        ServedAgreement(watch),
        BelowEarlierLevel(),
        FeedbackAccuracy(watch),
        Overconfidence(watch),
        ConfidentWrongnessRose(watch),
        InputDrift(watch),
        NewClass(watch),
        TeacherDrift(task, ledger, watch),
        StaleEvidence(),
    )
