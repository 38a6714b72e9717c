"""The shipper: carries the gateway's logs into the journal, and removes what the archive holds.

It keeps nothing of its own: how far a source has been shipped stands in Redis, beside what was shipped, and how far it
is archived is said by the archiver. So it may die between any two steps, and Redis may forget everything: it looks
where things are and goes on from there. What is shipped twice, the archiver takes once.

Nothing grows without bound. A stream that has reached twice its cap holds all shipping, until the archiver has archived
and trimmed it: meanwhile the log on disk takes what comes. A log near its bound, or on a disk near its own, loses its
oldest shipped segments first, archived or not, since Redis holds them; what is not shipped is never touched, and past
the bound it is the writer that drops and counts.
"""

from core.shipper.cleaner import Space
from core.shipper.shipper import Shipper, open_shipper

__all__ = ["Shipper", "Space", "open_shipper"]
