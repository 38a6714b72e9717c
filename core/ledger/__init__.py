"""The ledger: what must stay true across restarts and is too small, or too important, for the archive.

Trust, runs, API keys, the audit trail, and the index of the archive: in SQLite by default, in PostgreSQL in production.
"""

from core.ledger.alarms import Alarm, Alarms, AlarmState, Severity
from core.ledger.archive_index import ArchiveFile, ArchiveIndex, Move
from core.ledger.canaries import Canaries, Canary
from core.ledger.forgotten import DataDeletion, Forgotten, Tombstones
from core.ledger.golden import Golden, GoldenExample, GoldenRound, GoldenSet
from core.ledger.keys import ApiKey, Keys
from core.ledger.notifications import Notification, Notifications
from core.ledger.review import Review, ReviewState, Right, Why
from core.ledger.reviews import REVIEW_SOURCE, Reviews
from core.ledger.runs import Run, Runs, RunState
from core.ledger.snapshots import Snapshot, Snapshots
from core.ledger.spend import Spend, Spends
from core.ledger.store import AuditEntry, Ledger, Trust
from core.ledger.templates import AcceptedTemplate, Templates, templates_in_force
from core.ledger.thresholds import Threshold, Thresholds
from core.ledger.unknown_templates import UnknownTemplate, UnknownTemplates

__all__ = [
    "REVIEW_SOURCE",
    "AcceptedTemplate",
    "Alarm",
    "AlarmState",
    "Alarms",
    "ApiKey",
    "ArchiveFile",
    "ArchiveIndex",
    "AuditEntry",
    "Canaries",
    "Canary",
    "DataDeletion",
    "Forgotten",
    "Golden",
    "GoldenExample",
    "GoldenRound",
    "GoldenSet",
    "Keys",
    "Ledger",
    "Move",
    "Notification",
    "Notifications",
    "Review",
    "ReviewState",
    "Reviews",
    "Right",
    "Run",
    "RunState",
    "Runs",
    "Severity",
    "Snapshot",
    "Snapshots",
    "Spend",
    "Spends",
    "Templates",
    "Threshold",
    "Thresholds",
    "Tombstones",
    "Trust",
    "UnknownTemplate",
    "UnknownTemplates",
    "Why",
    "templates_in_force",
]
