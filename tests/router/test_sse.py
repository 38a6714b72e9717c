import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UpstreamError
from router.sse import EventSplitter, data_of

texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)
endings = st.sampled_from(["\n", "\r\n", "\r"])
cuts_of = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def fed(splitter: EventSplitter, stream: bytes, cuts: list[int]) -> list[bytes]:
    found, start = [], 0
    for cut in cuts:
        found += splitter.feed(stream[start : start + cut])
        start += cut
    return found + splitter.feed(stream[start:])


@given(st.lists(texts, max_size=8), cuts_of, endings)
def test_events_come_out_whole_however_the_bytes_are_cut(datas, cuts, ending):
    stream = "".join(f"data: {data}{ending * 2}" for data in datas).encode()
    splitter = EventSplitter()
    found = fed(splitter, stream, cuts)
    assert [data_of(event) for event in found] == [data.encode().strip() for data in datas]
    assert splitter.rest == b""


@given(st.lists(st.tuples(st.sampled_from([b"data: x", b": c", b"event: e", b"", b"\xc3\xa4"]), endings)), cuts_of)
def test_any_mixture_of_line_endings_is_cut_where_the_standard_says(lines, cuts):
    stream = b"".join(line + ending.encode() for line, ending in lines)
    splitter = EventSplitter()
    found = fed(splitter, stream, cuts)
    normal = re.sub(rb"\r\n?", b"\n", stream)
    events, line_ends = re.findall(rb"(?:[^\n]+\n)+\n", normal), normal.endswith(b"\n")
    assert found == events
    assert b"".join(found).count(b"\n") <= normal.count(b"\n") or not line_ends


@given(st.lists(texts, min_size=1, max_size=5))
def test_whole_events_pass_untouched(datas):
    events = [f"data: {data}\n\n".encode() for data in datas]
    splitter = EventSplitter()
    assert [out for event in events for out in splitter.feed(event)] == events
    assert EventSplitter().feed(b"".join(events)) == events


def test_an_event_is_complete_with_its_last_carriage_return():
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\r\r") == [b"data: a\n\n"]
    assert splitter.feed(b"data: b\r\n\r") == [b"data: b\n\n"]
    assert splitter.feed(b"\ndata: c\r\n\r\n") == [b"data: c\n\n"]


def test_a_byte_order_mark_is_left_out():
    assert EventSplitter().feed(b"\xef\xbb\xbfdata: a\n\n") == [b"data: a\n\n"]


def test_comments_have_no_data_and_several_lines_are_joined():
    assert data_of(b": keep-alive\n\n") is None
    assert data_of(b"event: x\n\n") is None
    assert data_of(b"id: 1\ndata: a\ndata:b\n\n") == b"a\nb"


def test_an_endless_event_is_refused():
    with pytest.raises(UpstreamError, match="more than a mebibyte"):
        EventSplitter().feed(b"data: " + b"x" * (1 << 20))
    splitter = EventSplitter()
    with pytest.raises(UpstreamError, match="more than a mebibyte"):
        fed(splitter, b"x" * (1 << 21), [1000] * 2000)
