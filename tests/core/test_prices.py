from __future__ import annotations

import pytest

from core.prices import price_of, price_of_model
from core.settings import PassthroughSettings, TeacherSettings


def _price(**changes):
    return price_of(TeacherSettings(**({"base_url": "https://api.openai.com/v1", "model": "gpt-4o-mini"} | changes)))


def test_known_models_are_looked_up_offline():
    price = _price()
    assert price is not None
    assert price.cost(1_000_000, 0) == pytest.approx(0.15)
    assert price.cost(0, 1_000_000) == pytest.approx(0.60)
    assert not price.free


def test_a_proxy_keeps_the_model_name():
    assert _price(base_url="http://127.0.0.1:4000/v1") == _price()


def test_the_settings_win_each_for_itself():
    both = _price(input_price=3.0, output_price=0.0)
    assert both is not None
    assert (both.input_price, both.output_price, both.source) == (3.0, 0.0, "the settings")
    one = _price(input_price=3.0)
    assert one is not None
    assert (one.input_price, one.output_price) == (3.0, pytest.approx(0.60))


def test_nobody_knows_everything():
    assert _price(model="my-own-finetune") is None
    assert _price(model="my-own-finetune", input_price=1.0) is None


def test_our_own_teacher_is_free():
    price = _price(model="mine", linear_probe={"encoder": "x", "examples": []})
    assert price is not None
    assert price.free


def test_the_default_upstreams_models_have_their_own_prices():
    upstream = PassthroughSettings(base_url="https://api.openai.com/v1")
    assert price_of_model("gpt-4o-mini", upstream) == _price()
    assert price_of_model("my-own-finetune", upstream) is None
    fixed = PassthroughSettings(base_url="http://127.0.0.1:1/v1", input_price=1.0, output_price=2.0)
    price = price_of_model("my-own-finetune", fixed)
    assert price is not None
    assert price.cost(1_000_000, 1_000_000) == pytest.approx(3.0)
