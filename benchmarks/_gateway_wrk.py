"""Whole answers under load: `wrk`, told what to send, and read for what it measured."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks._gateway_process import StartError

TEXTS: Final = 512
"""Different messages, in turn: a gateway that keeps answers, or looks for repetitions, is not shown only one."""
CHAT: Final = "/v1/chat/completions"

_TEXT: Final = (
    "please could you tell me where my card payment went because the transfer from yesterday still shows as pending "
    "and I was charged twice for an order that never arrived so I want a refund to another account before Friday"
)

_SCRIPT: Final = """\
local bodies = {BODIES}
local requests = {}
local at = 0

init = function()
  wrk.method = "POST"
  for name, value in pairs({HEADERS}) do wrk.headers[name] = value end
  for i, body in ipairs(bodies) do requests[i] = wrk.format(nil, nil, nil, body) end
end

request = function()
  at = at % #requests + 1
  return requests[at]
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "microseconds": %d, "failed": %d, "p50_us": %.1f, "p99_us": %.1f}\\n',
    summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What `wrk` saw."""

    requests: int
    seconds: float
    failed: int
    """Answers other than 2xx, broken connections and time-outs."""
    p50_us: float
    p99_us: float

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return max(self.requests - self.failed, 0) / self.seconds


def run_wrk(url: str, script: Path, *, connections: int, seconds: int, core: int) -> Load:
    """Load `url` from one thread on `core`. `wrk` knows whole seconds only.

    Raises StartError where it is missing or fails.
    """
    command = ("taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s")
    try:
        done = subprocess.run(
            [*command, "-s", str(script), url], capture_output=True, text=True, timeout=seconds + 60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise StartError(f"wrk did not run ({said}); it is in the Debian package `wrk`") from error
    return read_result(done.stdout)


def read_result(printed: str) -> Load:
    """Read the line that our script makes `wrk` print. Raises ValueError where there is none."""
    lines = [line for line in printed.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise ValueError("wrk printed no result")
    found = json.loads(lines[-1].removeprefix("RESULT "))
    return Load(found["requests"], found["microseconds"] / 1e6, found["failed"], found["p50_us"], found["p99_us"])


def write_script(path: Path, model: str, headers: Mapping[str, str]) -> Path:
    """Write the Lua script for one gateway: messages of about 150 characters, with these headers."""
    bodies = ", ".join(_lua(body) for body in bodies_for(model))
    shown = ", ".join(f"[{_lua(name)}] = {_lua(value)}" for name, value in headers.items())
    path.write_text(_SCRIPT.replace("{BODIES}", f"{{{bodies}}}").replace("{HEADERS}", f"{{{shown}}}"), encoding="utf-8")
    return path


def bodies_for(model: str) -> list[str]:
    """The requests, in JSON; the same ones for every gateway."""
    rng, words = random.Random(4), _TEXT.split()
    texts = (" ".join(rng.choices(words, k=28)) for _ in range(TEXTS))
    return [json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}) for text in texts]


def _lua(text: str) -> str:
    """A Lua string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
