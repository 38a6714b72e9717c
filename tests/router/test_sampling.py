"""Sampling: what is drawn, with which probability, and what a budget does to it."""

from __future__ import annotations

import math
import random
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError, StartupError, StateError
from core.ids import mint
from core.secret_file import load_secret
from core.settings import ShadowSettings, TaskSettings
from router.sampling import LOWEST_SCALE, Allowance, Sampler, keyed_uniform, probability
from tests.router.conftest import run_gateway
from tests.support.students import LABELS

SECRET = bytes(range(32))
unit = st.floats(0, 1)


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def task(**shadow) -> TaskSettings:
    teacher = {
        "base_url": "http://127.0.0.1:1/v1",
        "model": "m",
        "data_may_leave": True,
        "input_price": 1000.0,
        "output_price": 0.0,
    }
    return TaskSettings.model_validate({"labels": ["a", "b"], "teacher": teacher, "shadow": shadow})


@given(unit, unit, unit, unit, st.floats(LOWEST_SCALE, 1))
def test_a_probability_lies_between_floor_and_unsure_and_scales_as_a_whole(confidence, floor, unsure, least, scale):
    settings = ShadowSettings(floor=floor, unsure=unsure)
    plain = probability(confidence, settings, least)
    assert floor <= plain <= max(floor, unsure) or plain == pytest.approx(floor) or plain == pytest.approx(unsure)
    assert probability(confidence, settings, least, scale) == pytest.approx(scale * plain)
    assert probability(1.0, settings, least) == pytest.approx(floor)


@given(unit, unit, st.floats(0, 0.99))
def test_the_surer_the_student_the_less_it_is_looked_at(one, other, least):
    settings = ShadowSettings(floor=0.05, unsure=0.5)
    low, high = sorted((one, other))
    assert probability(low, settings, least) >= probability(high, settings, least)
    assert probability(least, settings, least) == pytest.approx(0.5)
    assert probability((1 + least) / 2, settings, least) == pytest.approx(0.275)


def test_the_draw_is_uniform_and_depends_on_nothing_but_id_and_secret():
    ids = [f"ex_{number}" for number in range(20_000)]
    values = sorted(keyed_uniform(identifier, SECRET) for identifier in ids)
    distance = max(abs(value - (rank + 0.5) / len(values)) for rank, value in enumerate(values))
    assert distance < 1.95 / math.sqrt(len(values)), "Kolmogorov and Smirnov, at 0.1 %"
    assert keyed_uniform(ids[0], SECRET) == keyed_uniform(ids[0], SECRET)
    assert keyed_uniform(ids[0], SECRET) != keyed_uniform(ids[0], b"another")
    assert all(0 <= value < 1 for value in values)


@pytest.mark.parametrize(("confidence", "expected"), [(1.0, 0.1), (0.75, 0.3), (0.5, 0.5), (0.2, 0.5)])
def test_as_many_are_drawn_as_the_probability_says(confidence, expected):
    sampler = Sampler("desk", task(floor=0.1, unsure=0.5, calls_per_hour=None), SECRET)
    samples = [sampler.draw(f"ex_{number}", confidence, "hello") for number in range(8000)]
    assert [sample.probability for sample in samples] == pytest.approx([expected] * len(samples))
    share = sum(sample.drawn for sample in samples) / len(samples)
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / len(samples)))


def test_weighted_by_one_over_the_probability_the_sample_tells_the_truth():
    """Horvitz and Thompson's estimate of agreement, where confidence, budget and agreement hang together."""
    rng = random.Random(7)
    errors = []
    for stream in range(60):
        clock = Clock()
        secret = rng.randbytes(32)
        sampler = Sampler("desk", task(floor=0.1, unsure=0.6, calls_per_hour=600), secret, clock)
        truth = estimate = variance = 0.0
        for number in range(1500):
            clock.now += rng.expovariate(2.0)
            confidence = rng.uniform(0.5, 1.0)
            agrees = rng.random() < confidence
            sample = sampler.draw(f"ex_{stream}_{number}", confidence, "hello")
            truth += agrees
            estimate += agrees / sample.probability if sample.drawn else 0.0
            variance += agrees * (1 / sample.probability - 1)
        errors.append((estimate - truth) / math.sqrt(variance))
    mean = sum(errors) / len(errors)
    spread = math.sqrt(sum((error - mean) ** 2 for error in errors) / (len(errors) - 1))
    assert abs(mean) < 3.3 / math.sqrt(len(errors)), "no bias"
    assert 0.7 < spread < 1.35, "and the variance that independent draws have"


def test_a_budget_lowers_what_comes_later_and_never_what_was_drawn():
    clock = Clock()
    sampler = Sampler("desk", task(floor=0.5, unsure=0.5, calls_per_hour=90), SECRET, clock)
    samples = [sampler.draw(mint(), 1.0, "hello") for _ in range(400)]
    chances = [sample.probability for sample in samples]
    assert chances[0] == 0.5, "the first one is not punished for what comes after"
    assert chances == sorted(chances, reverse=True)
    assert 0 < chances[-1] < 0.05
    clock.now += 3600
    assert sampler.draw(mint(), 1.0, "hello").probability == 0.5, "it recovers"


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1)), max_size=200), st.floats(0.5, 500))
def test_the_scale_is_never_zero_nor_above_one(steps, amount):
    clock = Clock()
    allowance = Allowance(amount, 3600, clock)
    for seconds, wanted in steps:
        clock.now += seconds
        assert LOWEST_SCALE <= allowance.scale <= 1
        allowance.spend(wanted * allowance.scale)


@pytest.mark.parametrize("demand", [0.5, 2.0, 20.0, 200.0])
def test_under_steady_load_the_budget_is_used_and_kept(demand):
    """`demand` times the budget would be asked for, hour after hour."""
    clock, amount = Clock(), 300.0
    allowance = Allowance(amount, 3600, clock)
    hours = []
    for _ in range(4):
        spent = 0.0
        for _ in range(7200):
            clock.now += 0.5
            expected = min(demand * amount / 7200, 1.0) * allowance.scale
            allowance.spend(expected)
            spent += expected
        hours.append(spent)
    assert max(hours) <= amount * 1.01
    assert hours[-1] == pytest.approx(min(demand, 8 / 9) * amount, rel=0.02)


def test_dollars_are_a_budget_too():
    clock = Clock()
    sampler = Sampler("desk", task(floor=1.0, calls_per_hour=None, dollars_per_day=0.9), SECRET, clock)
    texts = ["x" * 4000] * 50  # about a thousand tokens, hence about a dollar
    chances = [sampler.draw(mint(), 1.0, text).probability for text in texts]
    assert chances[0] == 1.0
    assert chances[-1] == LOWEST_SCALE
    unpriced = task(dollars_per_day=1.0)
    unpriced = unpriced.model_copy(
        update={"teacher": unpriced.teacher.model_copy(update={"input_price": None, "output_price": None})}
    )
    with pytest.raises(SettingsError, match=r"tasks\.desk\.shadow\.dollars_per_day.*teacher\.input_price"):
        Sampler("desk", unpriced, SECRET)


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    path = tmp_path / "gateway" / "sampling.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_secret, [path] * 32, ["sampling key"] * 32))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["sampling.key"], "no drafts are left"
    assert load_secret(tmp_path / "another.key", "sampling key") != load_secret(path, "sampling key")


def test_a_key_that_is_none_is_refused(tmp_path):
    path = tmp_path / "sampling.key"
    path.write_bytes(b"short")
    with pytest.raises(StateError, match="delete the file"):
        load_secret(path, "sampling key")
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="choose another with `state`"):
        load_secret(tmp_path / "file" / "sampling.key", "sampling key")


def test_the_gateway_draws_what_its_student_answers(tmp_path, student_url):
    with ExitStack() as stack:
        permitted = {"teacher": {"data_may_leave": True}, "task": {"shadow": {"floor": 0.5, "unsure": 0.5}}}
        gateway = run_gateway(stack, tmp_path, student_url, **permitted)
        gateway.trust(*LABELS)
        for number in range(60):
            gateway.ask(f"where is it {number}", stream=number % 2 == 0)
        gateway.ask("hello there")
        gateway.ask("where is it", n=2)
        records = gateway.records()
        sampled, others = records[:60], records[60:]
        assert {record.shadow_probability for record in sampled} == {0.5}
        secret = load_secret(gateway.settings.sampling_key, "sampling key")
        assert [record.shadow for record in sampled] == [keyed_uniform(r.id, secret) < 0.5 for r in sampled]
        assert 10 < sum(record.shadow for record in sampled) < 50
        assert [(record.shadow_probability, record.shadow) for record in others] == [(0.0, False)] * 2
        assert gateway.metric("tutelage_gateway_shadows_total") == sum(record.shadow for record in sampled)
        assert gateway.metric("tutelage_gateway_shadow_scale") == 1.0
        assert not [request for request in gateway.teacher.requests if "where" in str(request) and "n" not in request]


def test_nothing_is_sampled_where_it_is_not_permitted(gateway):
    gateway.ask("where is it")
    (record,) = gateway.records()
    assert (record.shadow_probability, record.shadow) == (0.0, False)
    assert not gateway.settings.sampling_key.exists()
    assert not gateway.settings.task("desk").samples


def test_falling_back_goes_before_shadow():
    room = 1.0
    sampler = Sampler("t", task(floor=0.5, unsure=0.5, calls_per_hour=None), SECRET, room=lambda: room)
    assert sampler.draw(mint(), 1.0, "x").probability == pytest.approx(0.5)
    room = 0.2
    assert sampler.draw(mint(), 1.0, "x").probability == pytest.approx(0.1)
    room = 0.0
    assert sampler.draw(mint(), 1.0, "x").probability == pytest.approx(0.5 * LOWEST_SCALE), "never zero: it is recorded"
