from hypothesis import given
from hypothesis import strategies as st

from router.upstream.window import RatioWindow

events = st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=200)


@given(events)
def test_it_covers_between_nine_tenths_and_all_of_its_length(steps):
    window, now, seen = RatioWindow(10.0, 100.0), 100.0, []
    for step, marked in steps:
        now += step
        window.count(now)
        if marked:
            window.mark(now)
        seen.append((now, marked))
        inside = [mark for at, mark in seen if at > now - 9.0 + 1e-6]
        touched = [mark for at, mark in seen if at > now - 10.0 - 1e-6]
        assert len(inside) <= window.total <= len(touched)
        assert sum(inside) <= window.marked <= sum(touched)


def test_ratio_and_forgetting():
    window = RatioWindow(10.0, 0.0)
    assert window.ratio == 0
    for _ in range(4):
        window.count(0.5)
    window.mark(0.5)
    assert window.ratio == 0.25
    window.move(1e9)
    assert (window.total, window.marked) == (0, 0)
    window.count(1e9)
    window.clear()
    assert window.total == 0
