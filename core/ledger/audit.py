"""Writing down who did what, in the same transaction as the deed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert

from core.ledger.tables import audit


def write_audit(
    connection: Connection,
    at: float,
    actor: str,
    action: str,
    *,
    task: str = "",
    version: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry to the audit trail. `at` in seconds since the epoch; `detail` must be JSON."""
    values = {"at": at, "actor": actor, "action": action, "task": task, "version": version}
    connection.execute(insert(audit).values(**values, detail=json.dumps(dict(detail or {}))))
