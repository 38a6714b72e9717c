"""Which requests a challenger answers: a share of users, so that each of them stays on one version."""

from __future__ import annotations

from typing import Final

from router.sampling import keyed_uniform

_MAX_KEY_BYTES: Final = 64


class Canary:
    """A challenger's share of a task's live requests, ready to be asked about each of them."""

    __slots__ = ("_key", "model", "share", "version")

    def __init__(self, task: str, version: str, share: float) -> None:
        """`share` of all users, in [0, 1]."""
        self.version = version
        self.share = share
        self.model = f"{task}@{version}"
        """What the student server calls it, also once it is champion."""
        # No secret: it only makes the users of one canary others than those of the next.
        self._key = f"{version}:{task}".encode()[:_MAX_KEY_BYTES]

    def takes(self, identifier: str) -> bool:
        """Whether a request is the challenger's, by its client's `user`, or by its own id where it names none."""
        return keyed_uniform(identifier, self._key) < self.share
