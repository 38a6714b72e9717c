import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UpstreamError
from router.sse import EventSplitter, data_of

texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(texts, max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=60), st.booleans())
def test_events_come_out_whole_however_the_bytes_are_cut(datas, cuts, crlf):
    ending = "\r\n\r\n" if crlf else "\n\n"
    stream = "".join(f"data: {data}{ending}" for data in datas).encode()
    splitter, found, start = EventSplitter(), [], 0
    for cut in cuts:
        found += splitter.feed(stream[start : start + cut])
        start += cut
    found += splitter.feed(stream[start:])
    assert [data_of(event) for event in found] == [data.encode().strip() for data in datas]


def test_comments_have_no_data_and_an_endless_event_is_refused():
    assert data_of(b": keep-alive\n\n") is None
    with pytest.raises(UpstreamError, match="more than a mebibyte"):
        EventSplitter().feed(b"data: " + b"x" * (1 << 20))
