"""API keys: who may ask the gateway, for which tasks, and how much.

A key is `tut-<id>-<secret>`. The id is public and names the key everywhere; the secret is shown once, when the key is
created, and nobody can read it again: the ledger holds a digest.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy import Engine, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.errors import DataError, StateError
from core.ledger.audit import write_audit
from core.ledger.tables import api_keys
from core.limits import NO_LIMITS, Limits

PREFIX: Final = "tut"
"""What every key begins with, so that people and secret scanners recognise one."""

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no letter looks like another
_ID_LENGTH: Final = 8
_SECRET_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of an API key. Times are seconds since the epoch."""

    id: str
    """The key's public part."""
    name: str
    digest: bytes = field(repr=False)
    """SHA-256 of the whole key."""
    tasks: frozenset[str]
    """The tasks that it may use; empty: all."""
    limits: Limits
    created_at: float
    revoked_at: float | None = None

    def may(self, task: str) -> bool:
        """Whether it may use a task."""
        return not self.tasks or task in self.tasks


def digest_of(key: bytes) -> bytes:
    """What is stored of a key: its SHA-256.

    A slow hash guards passwords, which can be guessed. A secret of 256 random bits cannot, however fast the hash; and
    this one is computed for every request.
    """
    return hashlib.sha256(key).digest()


class Keys:
    """The keys' part of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self, name: str, *, actor: str, at: float, tasks: Iterable[str] = (), limits: Limits = NO_LIMITS
    ) -> tuple[ApiKey, str]:
        """Create a key; returns what is known of it, and the key itself, which nobody will see again.

        Audited. Raises DataError where the name is unfit, or another valid key has it.
        """
        if not _NAME.fullmatch(name):
            raise DataError(
                f"{name!r} is no name for a key; take up to 64 letters, digits, dots, dashes and underscores, of which "
                "the first is a letter or a digit"
            )
        identifier = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
        secret = f"{PREFIX}-{identifier}-{secrets.token_urlsafe(_SECRET_BYTES)}"
        key = ApiKey(identifier, name, digest_of(secret.encode()), frozenset(tasks), limits, at)
        detail = {"key": key.id, "name": name, "tasks": sorted(key.tasks), "limits": msgspec.to_builtins(key.limits)}
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(api_keys).values(_values(key)))
                write_audit(connection, at, actor, "create_key", detail=detail)
        except IntegrityError:
            self._refuse_second(name)
            # The id was taken, which is one chance in 10^12; or the other key was revoked this very moment.
            return self.create(name, actor=actor, at=at, tasks=tasks, limits=limits)
        return key, secret

    def all(self) -> list[ApiKey]:
        """Every key that was ever created, the oldest first, revoked ones included. StateError where one is damaged."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        with self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(query).mappings()]

    def revoke(self, key: str, *, actor: str, at: float) -> bool:
        """Revoke the key with this id, for good. Audited. False: there is no valid key with this id."""
        valid = update(api_keys).where(api_keys.c.id == key, api_keys.c.revoked_at.is_(None))
        with self._engine.begin() as connection:
            if connection.execute(valid.values(revoked_at=at)).rowcount == 0:
                return False
            name = connection.execute(select(api_keys.c.name).where(api_keys.c.id == key)).scalar_one()
            write_audit(connection, at, actor, "revoke_key", detail={"key": key, "name": name})
        return True

    def _refuse_second(self, name: str) -> None:
        query = select(api_keys.c.id).where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
        with self._engine.connect() as connection:
            holder = connection.execute(query).scalar_one_or_none()
        if holder is not None:
            raise DataError(
                f"there is a key named {name!r} already ({holder}); choose another name, or revoke that one first with "
                f"`tutelage keys revoke {holder}`"
            )


def _values(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "digest": key.digest,
        "tasks": json.dumps(sorted(key.tasks)),
        "limits": msgspec.json.encode(key.limits).decode(),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _key(row: RowMapping) -> ApiKey:
    values = dict(row)
    try:
        values["tasks"] = msgspec.json.decode(values["tasks"], type=frozenset[str])
        values["limits"] = msgspec.json.decode(values["limits"], type=Limits)
    except msgspec.DecodeError as error:
        raise StateError(
            f"the API key {values['id']} in the ledger is damaged ({error}); mend its row, or delete it there"
        ) from error
    return ApiKey(**values)
