"""Whose request it is: the API keys in memory, and the one lookup that every request makes."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from typing import Final

from core.errors import AuthenticationError, InvalidRequestError, KeyNotAllowedError, UnavailableError
from core.ledger.keys import ApiKey, digest_of

_NOBODY: Final = secrets.token_bytes(32)
"""What a key with an unknown id is compared with: that takes as long as with a known one, and never fits."""

_LONGEST: Final = 256
"""Longer than any key; nothing beyond is hashed."""

_MOST_SEEN: Final = 4096

_RETRY_SECONDS: Final = 1.0


class KeyRing:
    """The API keys, as they are at one moment. Immutable.

    Authentication is off only where no key was ever created; keys that are all revoked let nobody in.
    """

    __slots__ = ("_by_id", "_seen", "known")

    def __init__(self, keys: Iterable[ApiKey] | None) -> None:
        """`keys` are all that were ever created, revoked ones included; None: they are not known yet."""
        self.known: Final = keys is not None
        """Whether it is known who may ask. While it is not, every request is refused."""
        self._by_id: Final = {key.id.encode(): key for key in keys or ()}
        self._seen: Final[dict[bytes, ApiKey]] = {}

    def find(self, authorization: bytes | None) -> ApiKey | None:
        """The key that an `authorization` header (`Bearer tut-...`) holds; None where authentication is off.

        Raises AuthenticationError where it holds no valid key; UnavailableError while the keys are not known.
        """
        if not self._by_id:
            self._require_known()
            return None
        if authorization is None:
            raise AuthenticationError(
                "this gateway asks for an API key; send it as `Authorization: Bearer tut-...` (OpenAI's clients: set "
                "OPENAI_API_KEY)"
            )
        return self._seen.get(authorization) or self._verified(authorization)

    def _verified(self, authorization: bytes) -> ApiKey:
        """The key of a header that is seen for the first time, or is not valid. Raises AuthenticationError.

        Valid ones are remembered for as long as the ring lives, which a revoked key ends. They are found by Python's
        keyed hash, whose key is drawn when the process starts: how long that takes tells nothing of how near a guess
        came.
        """
        scheme, _, rest = authorization.partition(b" ")
        sent = rest.strip(b" \t")
        if scheme.lower() != b"bearer" or len(sent) > _LONGEST:
            raise _invalid()
        parts = sent.split(b"-", 2)
        key = self._by_id.get(parts[1]) if len(parts) == 3 else None
        if not hmac.compare_digest(digest_of(sent), _NOBODY if key is None else key.digest) or key is None:
            raise _invalid()
        if key.revoked_at is not None:
            raise AuthenticationError(f"the API key {key.name!r} was revoked; ask for another one")
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[authorization] = key
        return key

    def _require_known(self) -> None:
        if not self.known:
            raise UnavailableError(
                "the gateway cannot read its API keys at the moment; try again in a little", retry_after=_RETRY_SECONDS
            )


def authorization_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The `authorization` header of a request, names in lower case; None where there is none.

    Raises InvalidRequestError where there are several: whoever stands in front may have looked at another one.
    """
    found = [value for name, value in headers if name == b"authorization"]
    if len(found) > 1:
        raise InvalidRequestError("the request has more than one authorization header", code="repeated_header")
    return found[0] if found else None


def check_task(key: ApiKey | None, task: str) -> None:
    """Raise KeyNotAllowedError where the key may not use the task. None, where authentication is off, may use all."""
    if key is not None and not key.may(task):
        raise KeyNotAllowedError(
            f"the API key {key.name!r} may not use {task!r}; it may use {', '.join(sorted(key.tasks))}", param="model"
        )


def _invalid() -> AuthenticationError:
    return AuthenticationError(
        "the API key is not valid here; send one of this gateway's as `Authorization: Bearer tut-...` "
        "(`tutelage keys create` makes one)"
    )
