"""The watch against the real MLflow on SQLite."""

from __future__ import annotations

import pytest

from core.errors import RegistryError
from core.labels import LabelSet
from core.registry import Registry
from core.templates import compile_template
from server.batching import Limits
from server.metrics import StudentMetrics
from server.pointer import Pointers
from server.registry_watch import RegistryWatch
from server.versions import ServedTask, Versions
from tests.support.students import LABELS, write_student


class House:
    """A state folder with a registry, and student servers that come and go."""

    def __init__(self, state) -> None:
        self.state = state
        self.registry = Registry(f"sqlite:///{state}/registry.db", state / "artifacts")
        self.away = False
        self.count = 0

    def register(self, *aliases: str) -> str:
        self.count += 1
        version = self.registry.register("desk", write_student(self.state / "built" / str(self.count)), {})
        for alias in aliases:
            self.registry.set_alias("desk", alias, version)
        return version

    def open(self) -> Registry:
        if self.away:
            raise RegistryError("the registry is away")
        return self.registry

    def server(self) -> tuple[Versions, RegistryWatch]:
        metrics = StudentMetrics()
        task = ServedTask("desk", (compile_template("default", [("user", "{text}")]),), LabelSet(LABELS))
        versions = Versions([task], Limits(), metrics)
        return versions, RegistryWatch(self.open, versions, Pointers(self.state / "students"), metrics, 0.01)

    def copies(self) -> list[str]:
        return sorted(path.name for path in (self.state / "students" / "desk").iterdir())


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


async def test_it_follows_the_aliases(house):
    versions, watch = house.server()
    await watch.poll()
    assert not versions.ready
    first = house.register("champion")
    await watch.poll()
    assert versions.pick("desk").version == first
    second = house.register("challenger")
    await watch.poll()
    assert versions.pick("desk@challenger").version == second
    house.registry.set_alias("desk", "champion", second)
    house.registry.set_alias("desk", "challenger", None)
    await watch.poll()
    assert {alias: loaded.version for alias, loaded in versions.loaded("desk").items()} == {"champion": second}
    assert house.copies() == [first, second, "champion.json"]  # the one before stays at hand for a rollback
    third = house.register("champion")
    await watch.poll()
    assert house.copies() == [second, third, "champion.json"]
    house.registry.set_alias("desk", "champion", None)
    await watch.poll()
    assert not versions.ready
    await versions.close()


async def test_a_restart_serves_while_the_registry_is_away(house):
    first, second = house.register("champion"), house.register("challenger")
    versions, watch = house.server()
    await watch.poll()
    await versions.close()

    house.away = True
    versions, watch = house.server()
    await watch.restore()
    assert versions.pick("desk").version == first
    assert versions.pick("desk@challenger").version == second
    await watch.poll()
    assert versions.pick("desk").version == first

    house.away = False
    house.registry.set_alias("desk", "champion", second)
    await watch.poll()
    assert versions.pick("desk").version == second
    await versions.close()


async def test_a_registry_that_lost_everything_takes_no_student_with_it(house, tmp_path):
    house.register("champion")
    versions, watch = house.server()
    await watch.poll()
    await versions.close()
    house.registry = Registry(f"sqlite:///{tmp_path}/another.db", tmp_path / "artifacts2")
    versions, watch = house.server()
    await watch.restore()
    await watch.poll()
    assert versions.ready
    await versions.close()


async def test_a_corrupted_version_is_refused_and_tried_again_later_only(house):
    first = house.register("champion")
    versions, watch = house.server()
    await watch.poll()
    weights = set((house.state / "artifacts").rglob("model.safetensors"))
    house.register("champion")
    (new,) = set((house.state / "artifacts").rglob("model.safetensors")) - weights
    new.write_bytes(new.read_bytes()[:-10])
    for _ in range(3):
        await watch.poll()
    assert versions.pick("desk").version == first
    assert house.copies() == [first, "champion.json"]
    assert watch._metrics.render().count(b'swap_failures_total{alias="champion",task="desk"} 1.0') == 1
    third = house.register("champion")
    await watch.poll()
    assert versions.pick("desk").version == third
    await versions.close()


async def test_a_damaged_copy_is_not_served_but_fetched_again(house):
    first = house.register("champion")
    versions, watch = house.server()
    await watch.poll()
    await versions.close()
    (house.state / "students" / "desk" / first / "config.json").write_text("{}")
    versions, watch = house.server()
    await watch.restore()
    assert not versions.ready
    await watch.poll()
    assert versions.pick("desk").version == first
    await versions.close()
