"""The local log: what append accepted can be read, whatever happened afterwards."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import locallog
from core.errors import StartupError, StateError
from core.ids import mint
from core.locallog import LogWriter, read_frames

BIG = 1 << 30


def writer_in(folder: Path, segment_bytes: int = 1 << 20, max_bytes: int = BIG, fsync: bool = False) -> LogWriter:
    return LogWriter(folder, mint("log"), segment_bytes, max_bytes, fsync)


def payloads(folder: Path, source: str, max_bytes: int = 1 << 20) -> list[bytes]:
    """Everything in a source, read piece by piece."""
    found, offset = [], 0
    while frames := read_frames(folder, source, offset, max_bytes):
        found += [payload for _, payload in frames]
        offset = frames[-1][0]
    return found


def test_what_is_appended_is_read_in_order_across_segments(tmp_path):
    log = writer_in(tmp_path, segment_bytes=100)
    records = [b"%d" % number * (number % 40 + 1) for number in range(200)]
    assert all(log.append(record) for record in records)
    segments = locallog.list_segments(tmp_path, log.source)
    assert len(segments) > 10
    assert all(one.end == two.start for one, two in itertools.pairwise(segments))
    assert segments[-1].end == log.offset
    for piece in (1, 50, 1 << 20):
        assert payloads(tmp_path, log.source, piece) == records
    log.close()


@pytest.mark.parametrize("fsync", [False, True])
def test_a_writer_is_live_until_it_is_closed(tmp_path, fsync):
    log = writer_in(tmp_path, fsync=fsync)
    assert log.append(b"record")
    assert locallog.list_sources(tmp_path) == [log.source]
    assert locallog.is_live(tmp_path, log.source)
    log.close()
    log.close()
    assert not locallog.is_live(tmp_path, log.source)
    assert (tmp_path / log.source / "finished").exists()
    assert payloads(tmp_path, log.source) == [b"record"]


def test_reading_starts_at_the_first_segment_that_is_left(tmp_path):
    log = writer_in(tmp_path, segment_bytes=20)
    for number in range(5):
        log.append(b"record %d" % number)
    first, second, *_ = locallog.list_segments(tmp_path, log.source)
    first.path.unlink()
    assert read_frames(tmp_path, log.source, 0, 1)[0] == (second.end, b"record 1")
    log.close()


@given(
    records=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=12),
    segment_bytes=st.integers(10, 600),
    cut=st.integers(0, 4000),
    piece=st.integers(1, 500),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_log_cut_at_any_byte_yields_exactly_the_complete_frames(tmp_path_factory, records, segment_bytes, cut, piece):
    folder = tmp_path_factory.mktemp("log")
    log = writer_in(folder, segment_bytes=segment_bytes)
    ends = []
    for record in records:
        assert log.append(record)
        ends.append(log.offset)
    log.close()
    cut = min(cut, log.offset)
    for segment in locallog.list_segments(folder, log.source):
        if segment.start >= cut and segment.start > 0:
            segment.path.unlink()
        elif segment.end > cut:
            os.truncate(segment.path, cut - segment.start)
    assert payloads(folder, log.source, piece) == [
        record for record, end in zip(records, ends, strict=True) if end <= cut
    ]


def test_damage_is_named_and_what_is_before_it_is_read(tmp_path):
    log = writer_in(tmp_path)
    for record in (b"first", b"second", b"third"):
        log.append(record)
    (segment,) = locallog.list_segments(tmp_path, log.source)
    data = bytearray(segment.path.read_bytes())
    data[-7 - 8] ^= 1  # within "second"
    segment.path.write_bytes(data)
    (only,) = read_frames(tmp_path, log.source, 0, 1 << 20)
    assert only == (13, b"first")
    with pytest.raises(StateError, match=r"\.log: damaged at offset 13"):
        read_frames(tmp_path, log.source, 13, 1 << 20)
    log.close()


def test_a_tail_of_zeros_is_damage_and_no_record(tmp_path):
    log = writer_in(tmp_path)
    log.append(b"record")
    (segment,) = locallog.list_segments(tmp_path, log.source)
    with segment.path.open("ab") as file:
        file.write(bytes(64))
    assert [payload for _, payload in read_frames(tmp_path, log.source, 0, 1 << 20)] == [b"record"]
    with pytest.raises(StateError):
        read_frames(tmp_path, log.source, 14, 1 << 20)
    log.close()


def test_bytes_behind_a_closed_segments_end_are_nobodys(tmp_path):
    log = writer_in(tmp_path, segment_bytes=20)
    log.append(b"record 0")
    (segment,) = locallog.list_segments(tmp_path, log.source)
    with segment.path.open("ab") as file:
        file.write(b"surplus")
    log.append(b"record 1")
    assert payloads(tmp_path, log.source) == [b"record 0", b"record 1"]
    log.close()


def test_a_closed_segment_that_lost_its_last_frame_is_damage(tmp_path):
    log = writer_in(tmp_path, segment_bytes=32)
    for number in range(3):
        log.append(b"record %d" % number)
    first, _ = locallog.list_segments(tmp_path, log.source)
    os.truncate(first.path, 16)
    assert [payload for _, payload in read_frames(tmp_path, log.source, 0, 1 << 20)] == [b"record 0"]
    with pytest.raises(StateError, match="offset 16"):
        read_frames(tmp_path, log.source, 16, 1 << 20)
    log.close()


def test_a_closed_segment_that_ends_within_a_frame_is_damage(tmp_path):
    log = writer_in(tmp_path, segment_bytes=32)
    for number in range(4):
        log.append(b"record %d" % number)
    first, second = locallog.list_segments(tmp_path, log.source)
    os.truncate(first.path, first.size - 1)
    assert [payload for _, payload in read_frames(tmp_path, log.source, 0, 1 << 20)] == [b"record 0"]
    with pytest.raises(StateError):
        read_frames(tmp_path, log.source, 16, 1 << 20)
    assert len(read_frames(tmp_path, log.source, second.start, 1 << 20)) == 2
    log.close()


def test_a_full_log_drops_and_counts_and_takes_records_again_once_there_is_room(tmp_path, monkeypatch):
    log = writer_in(tmp_path, segment_bytes=100, max_bytes=1000)
    taken = [log.append(b"x" * 42) for _ in range(50)]
    assert taken == [True] * 20 + [False] * 30
    assert (log.records, log.dropped) == (20, 30)
    assert locallog.used_bytes(tmp_path) == 1000
    for segment in locallog.list_segments(tmp_path, log.source)[:3]:
        segment.path.unlink()
    monkeypatch.setattr("core.locallog.writer._FULL_LOOKS_SECONDS", 0.0)
    assert log.append(b"y")
    assert payloads(tmp_path, log.source)[-1] == b"y"
    log.close()


def test_a_disk_near_its_end_is_left_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("core.locallog.writer._FULL_LOOKS_SECONDS", 0.0)
    free = [11_000]
    log = LogWriter(tmp_path, mint("log"), 1000, BIG, min_free_bytes=9_800, disk_free=lambda folder: free[0])
    assert [log.append(b"x" * 92) for _ in range(3)] == [True, True, True], "looked at once, when it began"
    free[0] = 9_700
    taken = [log.append(b"x" * 92) for _ in range(10)]
    assert taken == [True] * 7 + [False] * 3, "and with every segment"
    free[0] = 20_000
    assert log.append(b"room again")
    assert (log.records, log.dropped) == (11, 3)
    log.close()


def test_a_disk_that_does_not_say_how_full_it_is_is_written_to(tmp_path):
    def refuse(folder):
        raise OSError(errno.EIO, "no")

    log = LogWriter(tmp_path, mint("log"), 1000, BIG, min_free_bytes=1, disk_free=refuse)
    assert log.append(b"record")
    log.close()


def test_free_bytes_are_those_of_the_folders_disk(tmp_path):
    disk = os.statvfs(tmp_path)
    assert 0 < locallog.free_bytes(tmp_path) <= disk.f_blocks * disk.f_frsize


def test_a_record_that_no_reader_would_take_is_dropped(tmp_path):
    log = writer_in(tmp_path)
    assert not log.append(bytes(64 * 1024 * 1024 + 1))
    assert log.append(b"record")
    assert (log.records, log.dropped) == (1, 1)
    assert payloads(tmp_path, log.source) == [b"record"]
    log.close()


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from core.locallog import LogWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = LogWriter(Path(sys.argv[1]), sys.argv[2], 1 << 20, 1 << 30)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
taken = [log.append(b"x" * 92) for _ in range(20)]
assert taken == [True] * 10 + [False] * 10, taken
assert log.append(b"x" * 100) is False
assert log.dropped == 11
resource.setrlimit(resource.RLIMIT_FSIZE, (1050, resource.RLIM_INFINITY))
assert log.append(b"x" * 92) is False, "half a frame fitted, and was taken back"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert log.append(b"room again")
log.close()
"""


def test_a_disk_that_takes_half_a_record_costs_that_record_only(tmp_path):
    """A file size limit makes the kernel write short, and then refuse, as a full disk does."""
    source = mint("log")
    subprocess.run([sys.executable, "-c", _FULL_DISK, str(tmp_path), source], check=True, timeout=30)
    assert payloads(tmp_path, source) == [b"x" * 92] * 10 + [b"room again"]


def test_a_frame_that_could_not_be_cut_off_is_cut_off_before_the_next_one(tmp_path, monkeypatch):
    log = writer_in(tmp_path)
    log.append(b"first")

    def torn(file, data, write=os.write):
        return write(file, data[:9])

    def refused(file, length):
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", torn)
        patch.setattr(os, "ftruncate", refused)
        assert not log.append(b"second")
        assert not log.append(b"third")
    assert log.append(b"fourth")
    assert log.dropped == 2
    assert payloads(tmp_path, log.source) == [b"first", b"fourth"]
    log.close()


def test_without_descriptors_the_old_segment_grows(tmp_path):
    log = writer_in(tmp_path, segment_bytes=20)
    log.append(b"first")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert log.append(b"x" * 40)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(locallog.list_segments(tmp_path, log.source)) == 1
    assert payloads(tmp_path, log.source) == [b"first", b"x" * 40]
    log.close()


def test_a_killed_writer_is_not_live(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from core.locallog import LogWriter\n"
        "log = LogWriter(Path(sys.argv[1]), sys.argv[2], 4096, 1 << 30); log.append(b'record')\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    source = mint("log")
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path), source], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert locallog.is_live(tmp_path, source)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not locallog.is_live(tmp_path, source)
    assert not (tmp_path / source / "finished").exists()
    assert payloads(tmp_path, source) == [b"record"]


def test_what_is_no_record_and_no_source_is_refused(tmp_path):
    log = writer_in(tmp_path)
    with pytest.raises(ValueError, match="1 to"):
        log.append(b"")
    log.close()
    with pytest.raises(ValueError, match="minted"):
        LogWriter(tmp_path, "../elsewhere", 4096, BIG)
    (tmp_path / "somebody's folder").mkdir()
    assert locallog.list_sources(tmp_path) == [log.source]
    assert locallog.list_sources(tmp_path / "missing") == []


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="make the folder writable"):
        writer_in(tmp_path / "file")
