"""Keeping the ring of API keys fresh beside the request path, and over a restart.

The ledger says which keys there are. While it is away the last known ones go on, and a copy on disk, which holds
digests only, carries them over a restart. Where there is neither, nobody is let in: authentication never fails open.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StartupError, StateError
from core.ledger import ApiKey, Ledger
from core.settings import Settings
from core.whole_file import write_whole
from router.admission.keyring import KeyRing

_log = structlog.get_logger(__name__)

_FORMAT: Final = 1

Known = tuple[ApiKey, ...]
"""Every key that was ever created, revoked ones included."""


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    keys: Known


_decoder = msgspec.json.Decoder(_Stored)


class KeyKeeper:
    """Holds the present ring, and puts another in its place when the ledger's keys change."""

    def __init__(self, ledger: Ledger, file: Path) -> None:
        """`file` keeps the last known keys. Nothing is read yet: until `refresh`, every request is refused."""
        self._ledger = ledger
        self._file = file
        self._known: Known | None = None
        self._stored: Known | None = None
        self._looked = False
        self._migrated = False
        self._told = ""
        self.ring = KeyRing(None)
        """The keys, as far as they are known. To be taken anew for each request."""

    async def refresh(self) -> None:
        """Look once. Never raises: what cannot be read stays as it was."""
        known = await asyncio.to_thread(self._look)
        if known is not None and known != self._known:
            valid = sum(key.revoked_at is None for key in known)
            _log.info("keys_changed", valid=valid, revoked=len(known) - valid, authentication=bool(known))
            self.ring = KeyRing(known)
        self._known = known

    async def keep_fresh(self, seconds: float) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(seconds)

    def _look(self) -> Known | None:
        """The keys as the ledger has them, else the last known ones; None where there are neither."""
        if not self._looked:
            self._stored, self._looked = read_keys(self._file), True
        last = self._stored if self._known is None else self._known
        try:
            found = self._read_ledger()
        except (SQLAlchemyError, StartupError, StateError) as error:
            effect = "the last known keys go on" if last is not None else "every request is refused until it is back"
            self._tell("keys_unreadable", error=str(error), effect=effect)
            return last
        if last and not found:
            # Keys are never deleted, so this is not the ledger that it was. To be asked for no key must be a choice.
            effect = f"the last known keys go on; if that is not meant, stop the gateway and delete {self._file}"
            self._tell("ledger_without_its_keys", effect=effect)
            return last
        self._keep(found)
        return found

    def _read_ledger(self) -> Known:
        if not self._migrated:
            self._ledger.migrate()
            self._migrated = True
        return tuple(self._ledger.keys.all())

    def _keep(self, found: Known) -> None:
        """Keep what the ledger holds for a restart without it."""
        try:
            if found != self._stored:
                write_keys(self._file, found)
                self._stored = found
        except OSError as error:
            self._tell("keys_not_kept", error=str(error), effect="a restart without the ledger knows older keys")
        else:
            self._tell("")

    def _tell(self, event: str, **details: Any) -> None:
        """Log what is wrong when it begins; an empty event is the end of it."""
        if event and event != self._told:
            _log.warning(event, **details)
        elif not event and self._told:
            _log.info("keys_fresh_again", before=self._told)
        self._told = event


def has_valid_key(settings: Settings) -> bool:
    """Whether there is an API key that is not revoked: in the ledger, or while it is away, among the last known.

    Raises StartupError where neither can be read.
    """
    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        known = tuple(ledger.keys.all())
    except (SQLAlchemyError, StartupError) as error:
        last = read_keys(settings.keys_file)
        if last is None:
            raise StartupError(f"the API keys cannot be read: {error}") from error
        _log.warning("keys_unreadable", error=str(error), effect="the last known keys go on")
        known = last
    finally:
        ledger.close()
    return any(key.revoked_at is None for key in known)


def read_keys(file: Path) -> Known | None:
    """The keys that `write_keys` kept; None where the file is not there, or cannot be read or understood."""
    try:
        stored = _decoder.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return stored.keys if stored.format == _FORMAT else None


def write_keys(file: Path, keys: Known) -> None:
    """Keep keys, readable by their owner alone; several processes may do it at once. Raises OSError."""
    write_whole(file, msgspec.json.encode(_Stored(_FORMAT, keys)))
