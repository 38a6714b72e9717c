"""Taking the content out of records that are still on their way to the archive."""

from core.forgetting.hollow import hollow, hollow_bytes
from core.forgetting.logs import LogsHollowed, hollow_logs, logged_records
from core.forgetting.streams import hollow_stream, journalled_records

__all__ = [
    "LogsHollowed",
    "hollow",
    "hollow_bytes",
    "hollow_logs",
    "hollow_stream",
    "journalled_records",
    "logged_records",
]
