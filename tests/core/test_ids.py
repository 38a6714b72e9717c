import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import Minter, mint, minted_at, sane_request_id


def test_ids_differ_and_sort_by_time():
    first = mint()
    time.sleep(0.002)
    second = mint()
    assert first < second
    assert len({mint() for _ in range(10_000)}) == 10_000


def test_an_id_tells_when_it_was_minted():
    before = time.time()
    assert before - 0.002 <= minted_at(mint()) <= time.time() + 0.002


@pytest.mark.parametrize("foreign", ["", "ex_", "chatcmpl-123", "ex_short"])
def test_a_foreign_id_has_no_time(foreign):
    with pytest.raises(ValueError, match="was not minted"):
        minted_at(foreign)


@given(st.text(max_size=300))
def test_only_printable_short_request_ids_are_echoed(text):
    echoed = sane_request_id(text)
    assert echoed is None or (echoed == text and len(text) <= 128 and text.isascii() and text.isprintable())


def test_many_at_once_are_minted_alike():
    minter, at = Minter(), 1_795_516_883.25
    ids = [minter(at) for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    assert {minted_at(identifier) for identifier in ids} == {at}
    assert {len(identifier) for identifier in ids} == {len(mint())}
