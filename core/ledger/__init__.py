"""The ledger: what must stay true across restarts and is too small, or too important, for the archive.

Trust, the audit trail, and the index of the archive: in SQLite by default, in PostgreSQL in production.
"""

from core.ledger.archive_index import ArchiveFile, ArchiveIndex, Move
from core.ledger.store import AuditEntry, Ledger, Trust

__all__ = ["ArchiveFile", "ArchiveIndex", "AuditEntry", "Ledger", "Move", "Trust"]
