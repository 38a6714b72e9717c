"""The journal: Redis Streams between the gateway's logs and everything that reads what happened.

    tutelage:<task>:<kind>   a stream; an entry holds a batch of records of one source
    tutelage:streams         set of the streams' names
    tutelage:shipped         hash: source -> offset up to which its log is in the streams
    tutelage:archived        hash: <stream>|<source> -> offset up to which the archive holds it
    tutelage:records         hash: stream -> records that were ever added to it
    tutelage:epoch           a random word, gone when Redis loses its data

An entry and the source's position move together, in one script: so what Redis says of itself is true whatever it has
lost, and no record is in the streams twice unless Redis forgot it in between. Needs Redis 6.2, and nothing newer.
"""

from core.journal.entries import Entry, added_at, archived_field, stream_name, stream_of, stream_parts
from core.journal.group import ConsumerGroup
from core.journal.journal import START, Journal, is_cancelled

__all__ = [
    "START",
    "ConsumerGroup",
    "Entry",
    "Journal",
    "added_at",
    "archived_field",
    "is_cancelled",
    "stream_name",
    "stream_of",
    "stream_parts",
]
