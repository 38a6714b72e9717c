"""A task whose traffic has changed, built once; each test works on a copy."""

from __future__ import annotations

import pytest

from tests.support.retraining import World, build


@pytest.fixture(scope="session")
def built_world(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def world(built_world, tmp_path):
    with World.copied(built_world, tmp_path) as world:
        yield world
