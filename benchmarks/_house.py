"""A whole house for a benchmark: `tutelage up` as a process, on free ports, with a state folder of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

_STOP_SECONDS = 60.0


@dataclass(slots=True)
class House:
    """A running house."""

    config: Path
    gateway: str
    """Address of the gateway, without a path."""
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    """What it has printed."""

    @property
    def base_url(self) -> str:
        """For OpenAI's clients."""
        return f"{self.gateway}/v1"

    def wait_for(self, words: str, seconds: float) -> None:
        """Wait until it has printed `words`. Raises RuntimeError, with all that it printed, where it does not."""
        deadline = time.monotonic() + seconds
        while not any(words in line for line in self.lines):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{words!r} was not seen in {seconds:.0f} s:\n{''.join(self.lines)}")
            time.sleep(0.1)


@contextlib.contextmanager
def run_house(document: dict[str, Any], folder: Path) -> Iterator[House]:
    """Run a house with these settings; ports and the state folder are filled in."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = iter(_free_ports(16))
    document = document | {"state": str(folder / "state")}
    for section in ("gateway", "student", "redis", *(name for name in document if name in _ROLE_SECTIONS)):
        document[section] = document.get(section, {}) | {"port": next(ports)}
    for task in document["tasks"].values():
        if "linear_probe" in task["teacher"]:
            task["teacher"]["base_url"] = f"http://127.0.0.1:{next(ports)}/v1"
    config = folder / "tutelage.yaml"
    config.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "tutelage", "up", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    house = House(config, f"http://127.0.0.1:{document['gateway']['port']}", process)
    reader = threading.Thread(target=_read, args=(house,), daemon=True)
    reader.start()
    try:
        yield house
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(5)


_ROLE_SECTIONS = ("shadow", "monitor", "trainer")


def read_metrics(url: str) -> dict[str, dict[str, float]]:
    """Scrape Prometheus' text: metric name -> label string -> value. Empty where nobody answers."""
    try:
        text = httpx.get(url, timeout=5).text
    except httpx.HTTPError:
        return {}
    found: dict[str, dict[str, float]] = {}
    for name, labels, value in re.findall(r"^(\w+)(\{[^\n]*\})? ([^ \n]+)$", text, re.MULTILINE):
        found.setdefault(name, {})[labels] = float(value)
    return found


def _read(house: House) -> None:
    if house.process.stdout is not None:
        for line in house.process.stdout:
            house.lines.append(line)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
