"""Which requests a challenger answers: a share of users, so that each of them stays on one version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from router.sampling import keyed_uniform

_MAX_KEY_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Canary:
    """A challenger's share of a task's live requests, ready to be asked about each of them."""

    version: str
    share: float
    """Of all users, in [0, 1]."""
    model: str
    """What the student server calls the version, also once it is champion."""
    key: bytes
    """No secret: it only makes the users of one canary others than those of the next."""

    @classmethod
    def of(cls, task: str, version: str, share: float) -> Self:
        """The share of a task's version."""
        return cls(version, share, f"{task}@{version}", f"{version}:{task}".encode()[:_MAX_KEY_BYTES])

    def takes(self, identifier: str) -> bool:
        """Whether a request is the challenger's, by its client's `user`, or by its own id where it names none."""
        return keyed_uniform(identifier, self.key) < self.share
