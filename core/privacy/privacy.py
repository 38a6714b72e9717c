"""What may be stored of a task's exchanges: applied by the gateway to each of them before anything is written.

In `full`, texts and outputs are stored, after redaction where there is any. In `hashed`, only keyed hashes of them
(HMAC-SHA256, cut to 128 bits): equal texts can be counted, and none can be read or guessed without the key. In `none`
neither. In the latter two the client's `user` is a keyed hash as well, so that deletion by user works in every mode.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from core.privacy.redaction import DEFAULT_REPLACEMENT, Redactor
from core.records import StudentAnswer

if TYPE_CHECKING:
    from core.settings.privacy import PrivacySettings

HASHED: Final = "hmac:"
"""What stored hashes begin with."""

_HASH_BYTES: Final = 16


class Stored(NamedTuple):
    """What may be stored of a text."""

    text: str | None = None
    hash: str = ""
    redacted: bool = False
    """Whether `text` is not the one that was given."""


class StoredRequest(NamedTuple):
    """What may be stored of a request's body."""

    body: bytes = b""
    hash: str = ""
    redacted: bool = False


_NOTHING: Final = Stored()
_NO_REQUEST: Final = StoredRequest()


class Privacy:
    """The privacy of one task. Pure and thread-safe."""

    __slots__ = ("_full", "_hashed", "_key", "_redactor", "keeps_all")

    def __init__(self, settings: PrivacySettings, key: bytes) -> None:
        """`key` is the secret of the hashes; empty: nothing is hashed, and a `user` that would be is left out.

        Raises SettingsError for a pattern that cannot be used, ValueError for `hashed` without a key.
        """
        if settings.store == "hashed" and not key:
            raise ValueError("a task whose texts are hashed needs the key of the hashes")
        self._full = settings.store == "full"
        self._hashed = settings.store == "hashed"
        self._key = key
        self._redactor = Redactor(settings.redact) if self._full and settings.redact else None
        self.keeps_all = self._full and self._redactor is None
        """Everything may be stored as it is."""

    def text(self, text: str | None) -> Stored:
        """What may be stored of the text that the student reads, or of a comment."""
        if text is None:
            return _NOTHING
        if self._full:
            if self._redactor is None:
                return Stored(text)
            redacted = self._redactor(text)
            return Stored(redacted, "", redacted is not text)
        return Stored(None, self._hash(b"text", text)) if self._hashed else _NOTHING

    def output(self, output: str | None) -> Stored:
        """The same for an answer."""
        if output is None or self._full:
            return self.text(output)
        return Stored(None, self._hash(b"output", output)) if self._hashed else _NOTHING

    def request(self, body: bytes) -> StoredRequest:
        """What may be stored of a whole request (JSON), where no template makes a text of it.

        A body that is to be redacted and cannot be read is not stored.
        """
        if not self._full:
            hashed = hmac.digest(self._key, b"text\0" + body, "sha256")[:_HASH_BYTES] if self._hashed else b""
            return StoredRequest(b"", HASHED + hashed.hex()) if hashed else _NO_REQUEST
        if self._redactor is None:
            return StoredRequest(body)
        try:
            document = msgspec.json.decode(body)
            redacted = self._redactor.in_json(document)
            return StoredRequest(body) if redacted == document else StoredRequest(_json(redacted), "", redacted=True)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return StoredRequest(_json(DEFAULT_REPLACEMENT), "", redacted=True)

    def user(self, user: str) -> str:
        """What may be stored of the client's `user`: itself in `full`, unless a rule would redact it; else its hash."""
        if not user or (self._full and (self._redactor is None or self._redactor(user) is user)):
            return user
        return self.hashed_user(user) if self._key else ""

    def hashed_user(self, user: str) -> str:
        """The keyed hash of a `user`; the same in all tasks."""
        return self._hash(b"user", user)

    def fingerprint(self, text: str) -> str:
        """By what a text is known again where it is not stored: a hash; keyed wherever not everything may be read."""
        if self._full and self._redactor is None:
            return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[: 2 * _HASH_BYTES]
        return self._hash(b"fingerprint", text).removeprefix(HASHED)

    def note(self, text: str) -> str:
        """What may be stored of free text beside an exchange: an error that an upstream words, a client's comment."""
        return self.text(text).text or ""

    def student(self, answer: StudentAnswer | None) -> StudentAnswer | None:
        """The student's answer; without its pooled vector, which tells much of the text, where texts are not stored."""
        if self._full or answer is None or not answer.vector:
            return answer
        return msgspec.structs.replace(answer, vector=b"")

    def _hash(self, purpose: bytes, text: str) -> str:
        data = purpose + b"\0" + text.encode("utf-8", "surrogatepass")
        return HASHED + hmac.digest(self._key, data, "sha256")[:_HASH_BYTES].hex()


def needs_key(settings: PrivacySettings) -> bool:
    """Whether a task's privacy needs the secret: whether it may ever store a hash."""
    return settings.store != "full" or bool(settings.redact)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
