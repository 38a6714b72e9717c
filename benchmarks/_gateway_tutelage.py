"""Tutelage as `benchmarks.gateway` measures it: a real gateway role, everything on.

The role is started as in production, with one worker. The worker, which answers, gets the core of the gateways under
test; its parent, which ships the local log, and the journal's Redis get the other core, beside the load generator. An
API key, limits on the key and on the task, policy, trust, metrics, sampling and the journal are on.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import yaml

from benchmarks._gateway_claims import OURS
from benchmarks._gateway_peers import GATEWAY_CORE, LOAD_CORE, Site, Target, free_port
from benchmarks._gateway_process import ROOT, StartError, move, pinned, wait_until_answers
from benchmarks._gateway_stock import LABELS, TASK
from benchmarks._gateway_wrk import CHAT
from benchmarks._house import read_metrics
from core.journal import Journal, stream_name
from core.ledger import Ledger, Trust
from core.records import Kind, Reason
from core.redis_server import RedisServer, start_redis
from core.settings import Settings, load_settings

STUDENT: Final = "v1"
"""Version that the upstream claims to serve."""
_WORKER_SECONDS: Final = 30.0
_PLENTY: Final = 1_000_000_000
"""A limit that is kept and never reached: of requests and tokens a minute, of dollars."""

_STREAM_BYTES: Final = 4 * 1024**3


@contextlib.contextmanager
def tutelage(site: Site) -> Iterator[Target]:
    """Run the gateway role, with a Redis of its own. Raises StartError."""
    folder = site.folder / OURS
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with start_redis(folder / "redis", free_port()) as server:
        cache = psutil.Process(server.pid)
        move(cache, LOAD_CORE)
        config = _config(site)
        config.write_text(yaml.safe_dump(_document(site, folder, port, server), sort_keys=False), encoding="utf-8")
        _trust(load_settings(config))
        key = _create_key(config)
        log = folder / "gateway.log"
        command = (sys.executable, "-m", "router.serve", "--config", str(config))
        with pinned(command, LOAD_CORE, log) as parent:
            wait_until_answers(f"http://127.0.0.1:{port}/readyz", parent, log)
            worker = _worker_of(parent)
            move(worker, GATEWAY_CORE)
            _check_all_is_on(f"http://127.0.0.1:{port}{CHAT}", key)
            yield Target(
                OURS,
                version("tutelage").partition("+")[0],
                f"http://127.0.0.1:{port}",
                [worker],
                beside=[parent, cache],
                headers={"authorization": f"Bearer {key}"},
                stream_headers={"x-tutelage-answer-by": "teacher"},
            )


def await_journal(target: Target, site: Site, seconds: float = 60.0) -> tuple[int, int]:
    """How many exchanges the gateway has answered, and how many of them are in the journal after `seconds` at most.

    Raises StartError where the gateway does not say.
    """
    found = read_metrics(f"{target.url}/metrics").get("tutelage_gateway_requests_total")
    if found is None:
        raise StartError("the gateway's metrics do not say how many requests it has answered")
    answered, address = round(sum(found.values())), load_settings(_config(site)).redis.address
    return answered, asyncio.run(_await_journal(address, answered, seconds))


async def _await_journal(address: str, count: int, seconds: float) -> int:
    journal, deadline = Journal.connect(address), time.monotonic() + seconds
    try:
        while True:
            (shipped,) = await journal.totals([stream_name(TASK, Kind.EXCHANGE)])
            if shipped >= count or time.monotonic() > deadline:
                return shipped
            await asyncio.sleep(0.1)
    finally:
        await journal.close()


def _config(site: Site) -> Path:
    return site.folder / OURS / "tutelage.yaml"


def _document(site: Site, folder: Path, port: int, server: RedisServer) -> dict[str, Any]:
    task = {
        "labels": list(LABELS),
        "teacher": {
            "base_url": f"{site.upstream}/v1",
            "model": TASK,
            "data_may_leave": True,  # so that exchanges are sampled for the shadow worker
            "input_price": 2.0,
            "output_price": 8.0,
        },
        "limits": {
            "requests_per_minute": _PLENTY,
            "tokens_per_minute": _PLENTY,
            "dollars_per_day": _PLENTY,
            "dollars_per_month": _PLENTY,
        },
    }
    return {
        "state": str(folder / "state"),
        "gateway": {"port": port},
        "student": {"url": site.upstream},
        # Nobody archives here, so nothing may be trimmed: at twice this size the shipper would hold, as it should.
        "redis": {"url": server.url, "stream_bytes": _STREAM_BYTES},
        "tasks": {TASK: task},
    }


def _trust(settings: Settings) -> None:
    """Let the student answer everything, as the trainer would have found."""
    settings.state.mkdir(parents=True, exist_ok=True)
    ledger, now = Ledger(settings.ledger_url), time.time()
    try:
        ledger.migrate()
        rows = [Trust(TASK, STUDENT, label, True, 1.0, 100, "benchmark", now) for label in LABELS]
        ledger.set_trust(TASK, STUDENT, rows)
    finally:
        ledger.close()


def _create_key(config: Path) -> str:
    """Create an API key with limits of its own: from then on the gateway asks for one. Raises StartError."""
    limits = {"requests-per-minute": _PLENTY, "tokens-per-minute": _PLENTY, "dollars-per-day": _PLENTY}
    options = [f"--{name}={value}" for name, value in limits.items()]
    command = [sys.executable, "-m", "tutelage", "keys", "create", "benchmark", "--quiet", "--config", str(config)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"no API key could be created: {done.stderr.strip()}")
    return done.stdout.strip()


def _check_all_is_on(url: str, key: str) -> None:
    """Raise StartError unless a key is asked for, limits are kept, and the student answers because it is trusted."""
    body = {"model": TASK, "messages": [{"role": "user", "content": "Where is my order?"}]}
    refused = httpx.post(url, json=body)
    answered = httpx.post(url, json=body, headers={"authorization": f"Bearer {key}"})
    if refused.status_code != 401:
        raise StartError(f"a request without a key is not refused: {refused.status_code} {refused.text[:200]}")
    if answered.headers.get("x-tutelage-reason") != Reason.CHAMPION:
        raise StartError(f"it is not the student that answers: {answered.status_code} {answered.headers}")
    if "x-ratelimit-limit-requests" not in answered.headers:
        raise StartError("no limits are kept")


def _worker_of(parent: psutil.Process) -> psutil.Process:
    deadline = time.monotonic() + _WORKER_SECONDS
    while time.monotonic() < deadline:
        for child in parent.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "router.worker" in child.cmdline():
                    return child
        time.sleep(0.05)
    raise StartError("the gateway has no worker")
