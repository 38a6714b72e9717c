"""What is recorded for good. Plain typed records, encoded as MessagePack on their way from the gateway to the archive.

Every record carries the version of its schema; a reader refuses one that is newer than itself instead of guessing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from core.errors import StateError

SCHEMA: Final = 1


def _schema() -> int:
    """A factory, since `omit_defaults` would leave a plain default out, and a newer record would look like an older."""
    return SCHEMA


class Reason(StrEnum):
    """Why this one answered: a closed set, and a metric label. The rules are in `router/policy.py`."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    NO_STUDENT = "no_student"
    NOT_TRUSTED = "not_trusted"
    LOW_CONFIDENCE = "low_confidence"
    TEMPLATE_MISMATCH = "template_mismatch"
    STUDENT_UNAVAILABLE = "student_unavailable"
    BREAKER_OPEN = "breaker_open"
    OVER_DEADLINE = "over_deadline"
    RETRY_FALLBACK = "retry_fallback"
    PASSTHROUGH = "passthrough"
    FORCED = "forced"
    FALLBACK_SPENT = "fallback_spent"

    __hash__ = str.__hash__  # an enumeration's own is written in Python, and runs with every request


class Answerer(StrEnum):
    """Who answered an exchange. `NOBODY`: the client received an error."""

    STUDENT = "student"
    TEACHER = "teacher"
    NOBODY = "nobody"

    __hash__ = str.__hash__


class Kind(StrEnum):
    """Kinds of records; one stream of the journal for each task and kind."""

    EXCHANGE = "exchanges"
    FEEDBACK = "feedback"
    COMPARISON = "comparisons"


class Outcome(StrEnum):
    """What came of a shadow call. Only `ANSWERED` and `CASCADED` hold a teacher's label."""

    ANSWERED = "answered"
    CASCADED = "cascaded"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    OVER_BUDGET = "over_budget"
    UNREADABLE = "unreadable"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens, as whoever answered counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class StudentAnswer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the student said, kept also where the teacher answered in its stead.

    `distribution` holds one little-endian float16 a label, in the order of the label set `label_set`; `vector` the
    student's pooled vector at reduced size, in the same encoding.
    """

    version: str
    label: str
    confidence: float
    label_set: str
    distribution: bytes = b""
    vector: bytes = b""


class Exchange(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="exchange"):
    """One request and what answered it. Times in milliseconds, `at` in seconds since the epoch (UTC).

    `teacher_distribution` is the teacher's over the task's labels where it answered and gave one, packed as a student's
    is. `key` is the id of the client's API key. `text_hash` and `output_hash` stand for what `privacy.store: hashed`
    does not let us keep; `redacted`: what is kept is not what was seen. `canary` is the challenger's version where the
    exchange fell into its share and it was asked, whatever came of that; where it gave no answer, `student` is None.
    """

    id: str
    task: str
    at: float
    answered_by: Answerer
    reason: Reason
    status: int
    model: str = ""
    version: str = ""
    template: str = ""
    text: str | None = None
    request: bytes = b""
    output: str | None = None
    label: str | None = None
    teacher_distribution: bytes = b""
    student: StudentAnswer | None = None
    completion_id: str = ""
    request_id: str = ""
    user: str = ""
    key: str = ""
    usage: Usage = Usage()
    cost_usd: float = 0.0
    streamed: bool = False
    complete: bool = True
    total_ms: float = 0.0
    upstream_ms: float = 0.0
    error: str = ""
    shadow_probability: float = 0.0
    shadow: bool = False
    text_hash: str = ""
    output_hash: str = ""
    redacted: bool = False
    canary: str = ""
    schema: int = msgspec.field(default_factory=_schema)


class Feedback(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="feedback"):
    """Ground truth for an exchange, hours or weeks later. `exchange` is our id or the upstream's completion id."""

    id: str
    task: str
    exchange: str
    label: str
    at: float
    comment: str = ""
    source: str = "client"
    schema: int = msgspec.field(default_factory=_schema)


class Comparison(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="comparison"):
    """The student's answer beside the teacher's, on the same input.

    `probability` is the inclusion probability, fixed before the exchange was drawn: 1 where the cascade asked the
    teacher anyway. `served_by` says who answered the client. `cluster` is the same for near-duplicates. A comparison
    without a teacher's label (`outcome`) is kept: what is missing must be known. `challenger` is what the candidate on
    trial says of the same input, where there is one. `redacted`: the text is not the one that was compared on.

    A few are drawn to ask the teacher a second time: `again` is what came of that, None where it was not drawn,
    `again_probability` the chance with which a comparison that has the teacher's label was drawn, and `teacher_again`
    the second label. `cost_usd` holds both calls.
    """

    id: str
    task: str
    exchange: str
    at: float
    compared_at: float
    outcome: Outcome
    probability: float
    served_by: Answerer
    student: StudentAnswer
    teacher_label: str | None = None
    teacher_distribution: bytes = b""
    cluster: str = ""
    text: str | None = None
    cost_usd: float = 0.0
    error: str = ""
    challenger: StudentAnswer | None = None
    redacted: bool = False
    again: Outcome | None = None
    again_probability: float = 0.0
    teacher_again: str | None = None
    schema: int = msgspec.field(default_factory=_schema)

    @property
    def agrees(self) -> bool | None:
        """Whether student and teacher agree; None where the teacher gave no label."""
        return None if self.teacher_label is None else self.teacher_label == self.student.label


Record = Exchange | Feedback | Comparison

_KINDS: Final = {Exchange: Kind.EXCHANGE, Feedback: Kind.FEEDBACK, Comparison: Kind.COMPARISON}

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """Encode a record for the local log and the journal."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """Decode what `encode` wrote. Raises StateError where the data is damaged or newer than this program."""
    try:
        record: Record = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"a record in the log cannot be read ({error}); it is damaged or not a record") from error
    if record.schema > SCHEMA:
        raise StateError(
            f"record {record.id} has schema {record.schema}, newer than {SCHEMA}, which this Tutelage knows; upgrade it"
        )
    return record


def kind_of(record: Record) -> Kind:
    """The kind under which a record is journalled and archived."""
    return _KINDS[type(record)]
