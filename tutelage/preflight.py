"""What is looked at before anything starts, so that a person reads one clear line instead of five roles' complaints."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import StartupError
from core.settings import Settings

_LEAST_FREE_BYTES = 512 * 1024 * 1024


def check(settings: Settings) -> None:
    """Raise StartupError for a taken port, a folder that cannot be written, too full a disk, or a missing file."""
    _check_files(settings)
    _check_folder(settings.state)
    for setting, host, port in _ports(settings):
        _check_port(setting, host, port)


def _check_folder(state: Path) -> None:
    probe = state / ".write-probe"
    try:
        state.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"tutelage")
        probe.unlink()
    except OSError as error:
        raise StartupError(
            f"the state folder {state} cannot be written ({error.strerror}); set `state` to one that can be"
        ) from error
    free = shutil.disk_usage(state).free
    if free < _LEAST_FREE_BYTES:
        raise StartupError(
            f"the disk of {state} has {free // 2**20} MiB left, and {_LEAST_FREE_BYTES // 2**20} MiB are needed; "
            "free some, or set `state` to a folder on another disk"
        )


def _check_files(settings: Settings) -> None:
    for name, task in settings.tasks.items():
        probe = task.teacher.linear_probe
        files = [*task.data.prompts, *task.data.labelled, *task.data.evaluation, *(probe.examples if probe else [])]
        for file in files:
            if not file.is_file():
                raise StartupError(f"task {name!r}: there is no file {file}; correct the path in the settings")


def _ports(settings: Settings) -> list[tuple[str, str, int]]:
    ports = [
        ("gateway.port", settings.gateway.host, settings.gateway.port),
        ("student.port", settings.student.host, settings.student.port),
    ]
    ports.append(("shadow.port", settings.shadow.host, settings.shadow.port))
    ports.append(("monitor.port", settings.monitor.host, settings.monitor.port))
    if settings.redis.url is None:
        ports.append(("redis.port", "127.0.0.1", settings.redis.port))
    for name, task in settings.tasks.items():
        if task.teacher.linear_probe is not None:
            address = urlsplit(task.teacher.base_url)
            ports.append((f"tasks.{name}.teacher.base_url", address.hostname or "127.0.0.1", address.port or 80))
    return ports


def _check_port(setting: str, host: str, port: int) -> None:
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartupError(
                f"{host}:{port} is taken or not ours ({error.strerror}); stop what uses it, or change {setting}"
            ) from error
