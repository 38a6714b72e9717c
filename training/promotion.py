"""Which version serves: promoting, refusing, rolling back. Each is audited, and each may be done twice.

The order is always the same: trust first, then the alias that makes servers load the version, then the trail. Whoever
dies in between leaves a state in which nothing is served that is not trusted, and the same call again completes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.errors import DataError
from core.ledger import AuditEntry, Canary, Ledger
from core.registry import Registry

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"

_TRAIL: Final = 10_000


def promote(
    registry: Registry, ledger: Ledger, task: str, version: str, *, actor: str, detail: Mapping[str, Any] | None = None
) -> str | None:
    """Make a version champion; return the one before, None where there was none.

    Raises DataError where nothing is known of what the version may answer: its trust must be in the ledger beforehand.
    Raises RegistryError where there is no such version.
    """
    _require_trust(ledger, task, version)
    aliases = registry.aliases(task) or {}
    before = aliases.get(CHAMPION)
    ledger.canaries.end(task)
    if before != version:
        registry.set_alias(task, CHAMPION, version)
    if aliases.get(CHALLENGER) == version:
        registry.set_alias(task, CHALLENGER, None)
    if before != version or not _is_written(ledger, task, version):
        ledger.audit(actor, "promote", task, version, {"from": before, **(detail or {})})
    return before


def challenge(registry: Registry, ledger: Ledger, task: str, version: str, *, actor: str, run: str = "") -> None:
    """Make a version challenger: shadow calls are answered by it too, and clients not before its canary."""
    if registry.version_of(task, CHALLENGER) != version:
        registry.set_alias(task, CHALLENGER, version)
        ledger.audit(actor, "challenge", task, version, {"run": run})


def begin_canary(ledger: Ledger, canary: Canary, *, actor: str, run: str = "") -> Canary:
    """Let a challenger answer its share of live requests, until it is promoted or dismissed; returns what stands."""
    stands = ledger.canaries.begin(canary)
    trail, written = ledger.audit_trail(canary.task, limit=_TRAIL), {"run": run, "share": stands.share}
    if not any((e.action, e.version, e.detail) == ("canary", canary.version, written) for e in trail):
        ledger.audit(actor, "canary", canary.task, canary.version, written)
    return stands


def dismiss(
    registry: Registry,
    ledger: Ledger,
    task: str,
    version: str,
    *,
    actor: str,
    action: str = "refuse",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Refuse a version: it is challenger no more, and answers no client.

    It stays registered, so that a person may look, or promote it.

    `version` may be empty: a candidate that was refused before it was registered.
    """
    if version:
        ledger.canaries.end(task, version)
    if version and registry.version_of(task, CHALLENGER) == version:
        registry.set_alias(task, CHALLENGER, None)
    written = dict(detail or {})
    trail = ledger.audit_trail(task, limit=_TRAIL)
    if not any((entry.action, entry.version, entry.detail) == (action, version, written) for entry in trail):
        ledger.audit(actor, action, task, version, written)


def rollback(registry: Registry, ledger: Ledger, task: str, *, actor: str, reason: str = "") -> tuple[str, str]:
    """Bring the champion before the present one back, on the trust that it has; return (from, to).

    For people (`tutelage rollback`) and for whoever watches a new champion. Called again, it goes one further back.
    Raises DataError where no earlier champion is known, or nothing of what it may answer.
    """
    current = registry.version_of(task, CHAMPION)
    if current is None:
        raise DataError(f"the task {task!r} has no champion, so there is nothing to roll back")
    previous = previous_champion(ledger.audit_trail(task, limit=_TRAIL), current)
    if previous is None:
        raise DataError(
            f"version {current} is the first champion of {task!r}; `tutelage promote` takes another version"
        )
    _require_trust(ledger, task, previous)
    registry.set_alias(task, CHAMPION, previous)
    ledger.audit(actor, "rollback", task, previous, {"from": current, "reason": reason})
    return current, previous


def previous_champion(trail: list[AuditEntry], current: str) -> str | None:
    """The version in whose place `current` was promoted, by an audit trail with the newest entry first."""
    for entry in trail:
        before = entry.detail.get("from")
        if entry.action == "promote" and entry.version == current and before not in {None, current}:
            return str(before)
    return None


def _require_trust(ledger: Ledger, task: str, version: str) -> None:
    if not ledger.trust(task, version):
        raise DataError(
            f"nothing is known of which classes version {version} of {task!r} may answer; `tutelage students` shows "
            "the versions of which something is"
        )


def _is_written(ledger: Ledger, task: str, version: str) -> bool:
    """Whether the trail says already that this version became champion last."""
    for entry in ledger.audit_trail(task, limit=_TRAIL):
        if entry.action in {"promote", "rollback"}:
            return entry.version == version
    return False
