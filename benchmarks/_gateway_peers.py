"""The gateways that one could install instead, each from its package, as `benchmarks.gateway` starts them.

Each gets one core, one worker, the same upstream, and the settings that make it fastest without taking away what it is
for: no access log, no retries to wait for, no telemetry. What needs Python or Node lives in `.venv-peers` (`make
peers`); nginx comes from Debian's package.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil
import yaml

from benchmarks._gateway_process import StartError, family, pinned, wait_until_answers
from benchmarks._gateway_stock import ANSWER, TASK
from benchmarks._gateway_wrk import CHAT

GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1
"""Of the load generator and the upstream."""


@dataclass(frozen=True, slots=True)
class Site:
    """What every gateway is given."""

    upstream: str
    """Address of the upstream, without a path."""
    folder: Path
    """For its files and logs."""
    peers: Path
    """The environment with the peers' packages."""


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway that runs."""

    name: str
    version: str
    url: str
    """Its address, without a path."""
    processes: Sequence[psutil.Process] = ()
    """What runs on the gateway's core: its CPU time counts as the gateway's."""
    beside: Sequence[psutil.Process] = ()
    """What belongs to it and runs on the other core, off the request path."""
    headers: dict[str, str] = field(default_factory=dict)
    stream_headers: dict[str, str] = field(default_factory=dict)
    """What a streamed request carries as well."""
    streams: int = 256
    """As many at once as keep it busy: with more, a slow one would still be at them when it is another's turn."""

    @property
    def request_headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"content-type": "application/json", "authorization": "Bearer unused"} | self.headers


def check(target: Target) -> None:
    """Ask once, whole and streamed, and raise StartError unless both answers are right: wrong ones are fast too."""
    body = {"model": TASK, "messages": [{"role": "user", "content": "Where is my order?"}]}
    try:
        with httpx.Client(base_url=target.url, headers=target.request_headers, timeout=30) as client:
            whole = client.post(CHAT, json=body)
            streamed = client.post(
                CHAT, json=body | {"stream": True, "max_tokens": 5}, headers=dict(target.stream_headers)
            )
    except httpx.HTTPError as error:
        raise StartError(f"it does not answer: {type(error).__name__} {error}") from error
    if whole.status_code != 200 or f'"{ANSWER}"' not in whole.text:
        raise StartError(f"its answer is wrong: {whole.status_code} {whole.text[:300]}")
    events = streamed.text.count("data:")
    if streamed.status_code != 200 or "[DONE]" not in streamed.text or events < 5:
        raise StartError(f"its stream is wrong: {streamed.status_code}, {events} events, {streamed.text[-300:]}")


@contextlib.contextmanager
def nginx(site: Site) -> Iterator[Target]:
    """A plain proxy, which reads nothing of what passes: a bound rather than a rival."""
    folder, port = _folder(site, "nginx"), free_port()
    config = folder / "nginx.conf"
    config.write_text(
        _NGINX.format(folder=folder, port=port, upstream=site.upstream.removeprefix("http://")), encoding="utf-8"
    )
    binary = _found(shutil.which("nginx") or "/usr/sbin/nginx", "apt-get install nginx-light")
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stderr
    with _running(
        folder, (str(binary), "-e", str(folder / "error.log"), "-c", str(config)), port, "/health"
    ) as process:
        yield Target("nginx", said.rpartition("/")[2].strip(), _local(port), family(process))


@contextlib.contextmanager
def vllm_router(site: Site) -> Iterator[Target]:
    """The router of vLLM, in Rust."""
    with _rust_router(site, "vllm-router", ()) as target:
        yield target


@contextlib.contextmanager
def sglang_router(site: Site) -> Iterator[Target]:
    """The router of SGLang, in Rust."""
    with _rust_router(site, "sglang-router", ("launch",)) as target:
        yield target


@contextlib.contextmanager
def litellm(site: Site) -> Iterator[Target]:
    """LiteLLM's proxy, in Python."""
    folder, port = _folder(site, "litellm"), free_port()
    parameters = {"model": f"openai/{TASK}", "api_base": f"{site.upstream}/v1", "api_key": "unused"}
    document = {
        "model_list": [{"model_name": TASK, "litellm_params": parameters}],
        # Without it the proxy wants a key, and a key wants a look-up for each request.
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    binary = _found(site.peers / "bin" / "litellm")
    command = (str(binary), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False"}
    with _running(folder, command, port, "/health/liveliness", environment) as process:
        yield Target("litellm", _version(site, "litellm"), _local(port), family(process), streams=8)


@contextlib.contextmanager
def portkey(site: Site) -> Iterator[Target]:
    """Portkey's gateway, on Node."""
    folder, port = _folder(site, "portkey"), free_port()
    package = _found(site.peers / "node_modules" / "@portkey-ai" / "gateway")
    command = ("node", str(package / "build" / "start-server.js"), "--headless", f"--port={port}")
    found = re.search(r'"version":\s*"([^"]+)"', (package / "package.json").read_text(encoding="utf-8"))
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{site.upstream}/v1"}
    environment = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with _running(folder, command, port, "/", environment) as process:
        release = found[1] if found else "?"
        yield Target("portkey", release, _local(port), family(process), headers=headers, streams=64)


Starter = Callable[[Site], AbstractContextManager[Target]]

PEERS: Final[dict[str, Starter]] = {
    "nginx": nginx,
    "vllm-router": vllm_router,
    "sglang-router": sglang_router,
    "litellm": litellm,
    "portkey": portkey,
}


@contextlib.contextmanager
def _rust_router(site: Site, name: str, words: Sequence[str]) -> Iterator[Target]:
    folder, port = _folder(site, name), free_port()
    binary = _found(site.peers / "bin" / name)
    options = {
        "host": "127.0.0.1",
        "port": str(port),
        "worker-urls": site.upstream,
        "policy": "round_robin",
        "log-level": "error",
        "prometheus-host": "127.0.0.1",
        "prometheus-port": str(free_port()),
        "max-concurrent-requests": "4096",
    }
    spoken = [word for option, value in options.items() for word in (f"--{option}", value)]
    with _running(folder, (str(binary), *words, *spoken), port, "/health") as process:
        yield Target(name, _version(site, name), _local(port), family(process))


@contextlib.contextmanager
def _running(
    folder: Path, command: Sequence[str], port: int, page: str, environment: dict[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Run a gateway on its core, from when it answers on `page`."""
    log = folder / "output.log"
    with pinned(command, GATEWAY_CORE, log, environment) as process:
        wait_until_answers(_local(port) + page, process, log)
        yield process


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _folder(site: Site, name: str) -> Path:
    folder = site.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _found(path: Path | str, remedy: str = "make peers") -> Path:
    if not Path(path).exists():
        raise StartError(f"it is not installed (`{remedy}`)")
    return Path(path)


def _version(site: Site, package: str) -> str:
    """Of a package in the peers' environment, as its folder of metadata says."""
    folders = site.peers.glob(f"lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info")
    return next((folder.name.removesuffix(".dist-info").rpartition("-")[2] for folder in folders), "?")


def _local(port: int) -> str:
    return f"http://127.0.0.1:{port}"


_NGINX: Final = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream upstream {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://upstream;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""
