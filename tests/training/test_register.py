from __future__ import annotations

import pytest

from core.ledger import Ledger
from core.registry import Registry
from tests.support.students import LABELS, write_student
from training.register import register
from training.trust import Verdict

VERDICTS = [Verdict(label, label != "praise", 0.9, 20, "because") for label in LABELS]


class _Watched(Registry):
    """A registry that looks, whenever an alias moves, at whether the version's trust is there."""

    ledger: Ledger

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.trust_was_there: list[bool] = []

    def set_alias(self, task, alias, version) -> None:
        self.trust_was_there.append(version in self.ledger.trusted(task))
        super().set_alias(task, alias, version)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def registry(tmp_path, ledger):
    registry = _Watched(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path / "artifacts")
    registry.ledger = ledger
    return registry


def test_the_first_student_serves_and_later_ones_wait(tmp_path, registry, ledger):
    folder = write_student(tmp_path / "student")
    first = register(registry, ledger, "desk", folder, VERDICTS, run="run_1")
    assert (first.version, first.champion, first.trusted) == ("1", True, 2)
    assert ledger.trusted("desk") == {"1": frozenset({"order_status", "refund_status"})}

    second = register(registry, ledger, "desk", folder, VERDICTS[:1])
    assert not second.champion
    assert registry.version_of("desk", "champion") == "1"

    third = register(registry, ledger, "desk", folder, VERDICTS, promote=True, actor="a person")
    assert registry.version_of("desk", "champion") == third.version == "3"
    assert registry.trust_was_there == [True, True]

    trail = [(entry.actor, entry.action, entry.version) for entry in reversed(ledger.audit_trail("desk"))]
    assert trail == [
        ("trainer", "register", "1"),
        ("trainer", "promote", "1"),
        ("trainer", "register", "2"),
        ("a person", "register", "3"),
        ("a person", "promote", "3"),
    ]
    newest = ledger.audit_trail("desk", limit=1)[0]
    assert newest.detail == {"from": "1", "forced": True}
    assert registry.versions("desk")[0].tags["tutelage.run"] == "run_1"
