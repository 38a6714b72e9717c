"""What a killed supervisor leaves behind: nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.launch import launched
from tests.support.processes import ROOT

PARENT = """
import subprocess, sys
sys.path.insert(0, {root!r})
from core.launch import launched
child = subprocess.Popen(launched((sys.executable, "-c", "import time; time.sleep(60)")), start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_child_ends_with_its_parent():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(root=str(ROOT))], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = Path("/proc") / parent.stdout.readline().strip()
        deadline = time.monotonic() + 20
        while (
            b"time.sleep" not in (child / "cmdline").read_bytes() or b"core.launch" in (child / "cmdline").read_bytes()
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.kill()
        while child.exists() and "Z (zombie)" not in (child / "status").read_text():
            assert time.monotonic() < deadline, "the child outlived its parent"
            time.sleep(0.02)


def test_the_command_itself_runs_with_its_arguments():
    found = subprocess.run(
        launched((sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b", "--c")),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "['a b', '--c']"
