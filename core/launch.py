"""Run a command that ends when its parent does.

A supervisor that is killed cannot stop its children, and what it leaves behind would hold the ports against the next
start. Linux can tell a process that its parent has died, and the wish survives an exec; elsewhere this is a plain exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def launched(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command line that runs `command` so that it gets SIGTERM when the caller dies."""
    return (sys.executable, "-m", "core.launch", str(os.getpid()), *command)


def main(arguments: list[str]) -> None:
    """Replace this process by the command. Raises OSError where there is no such program."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we could say so
            raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606  # no shell wanted


if __name__ == "__main__":
    main(sys.argv[1:])
