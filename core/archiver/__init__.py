"""The archiver: journal to archive, every record once.

It reads each stream from its beginning when it starts, and after Redis has restarted or lost data, and leaves out what
the ledger says is archived. Positions in the ledger move only from where it believed them to be, so a second archiver
does no harm: whoever is late drops what it holds and reads on from what is true.
"""

from core.archiver.archiver import Archiver
from core.archiver.stream import Lag

__all__ = ["Archiver", "Lag"]
