"""The student server as a process, asked over HTTP by the `openai` client."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import httpx
import openai
import pytest
import yaml

from core.models.folder import Card, write_folder
from core.registry import Registry
from tests.support.student_server import ROOT, run_server, start_server
from tests.support.students import LABELS, write_student

QUESTION: Any = [{"role": "user", "content": "where is my refund money"}]


def _client(port: int, **options) -> Any:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, **options)


def test_the_openai_client_gets_what_it_expects(tmp_path, free_port):
    folder = write_student(tmp_path / "student")
    with run_server("--model", f"desk={folder}", port=free_port), _client(free_port) as client:
        answer = client.chat.completions.create(model="desk", messages=QUESTION, logprobs=True, top_logprobs=3)
        assert answer.choices[0].message.content == "refund_status"
        assert {top.token for top in answer.choices[0].logprobs.content[0].top_logprobs} == set(LABELS)
        assert answer.usage.prompt_tokens == 5
        stream = client.chat.completions.create(model="desk", messages=QUESTION, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == "refund_status"
        assert [model.id for model in client.models.list()] == ["desk"]
        assert client.models.retrieve("desk").owned_by == "tutelage"
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="nobody", messages=QUESTION)
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as mismatch:
            client.chat.completions.create(model="desk", messages=QUESTION * 2)
        assert mismatch.value.code == "template_mismatch"


def test_an_encoder_is_served_all_the_same(tmp_path, free_port):
    from core.models.encoder import EncoderClassifier
    from tests.support.encoders import write_encoder

    model = EncoderClassifier.cut(write_encoder(tmp_path / "tiny"), 1, LABELS)
    card = Card(task="desk", architecture="encoder", labels=list(LABELS), label_set="x")
    folder = write_folder(tmp_path / "student", model, card)
    with run_server("--model", f"desk={folder}", port=free_port), _client(free_port) as client:
        expected = LABELS[int(model.forward([QUESTION[0]["content"]]).logits[0].argmax())]
        assert client.chat.completions.create(model="desk", messages=QUESTION).choices[0].message.content == expected


class Desk:
    """A settings file, a registry with students, and the server that follows it."""

    def __init__(self, folder, port: int) -> None:
        self.folder, self.port = folder, port
        self.state = folder / "state"
        self.registry = Registry(f"sqlite:///{self.state}/registry.db", self.state / "artifacts")
        self.settings = folder / "tutelage.yaml"
        teacher = {"base_url": "http://127.0.0.1:9/v1", "model": "none"}
        document = {
            "state": str(self.state),
            "student": {"port": port, "poll_seconds": 0.1},
            "tasks": {"desk": {"labels": list(LABELS), "teacher": teacher}},
        }
        self.settings.write_text(yaml.safe_dump(document))

    def promote(self) -> str:
        version = self.registry.register("desk", write_student(self.folder / "built"), {})
        self.registry.set_alias("desk", "champion", version)
        return version

    def serve(self):
        return run_server("--config", str(self.settings), port=self.port)


@pytest.fixture
def desk(tmp_path, free_port):
    return Desk(tmp_path, free_port)


async def test_versions_change_under_load_without_a_failed_request(desk):
    first = desk.promote()
    with desk.serve():
        done, seen = asyncio.Event(), set[str]()
        url = f"http://127.0.0.1:{desk.port}/v1/chat/completions"
        async with httpx.AsyncClient(timeout=30) as client:
            promoted: list[str] = []

            def promote_twice() -> None:
                promoted.extend(desk.promote() for _ in range(2))

            async def ask() -> None:
                while not done.is_set():
                    answer = await client.post(url, json={"model": "desk", "messages": QUESTION})
                    assert answer.status_code == 200, answer.text
                    seen.add(answer.json()["tutelage"]["version"])
                    if len(promoted) == 2 and promoted[-1] in seen:
                        done.set()

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for _ in range(8):
                    group.create_task(ask())
                await asyncio.to_thread(promote_twice)
        assert {first, promoted[-1]} <= seen


def test_a_restart_answers_quickly_and_without_the_registry(desk):
    version = desk.promote()
    with desk.serve():
        pass
    (desk.state / "registry.db").rename(desk.state / "registry.away")
    (desk.state / "registry.db").mkdir()
    started = time.monotonic()
    with run_server("--config", str(desk.settings), port=desk.port):
        took = time.monotonic() - started
        answer = httpx.post(
            f"http://127.0.0.1:{desk.port}/v1/chat/completions", json={"model": "desk", "messages": QUESTION}
        )
        assert answer.json()["tutelage"]["version"] == version
        assert took < 10  # about one second on an idle machine


def test_a_stopping_server_finishes_what_is_under_way_and_exits_cleanly(tmp_path, free_port):
    folder = write_student(tmp_path / "student")
    with run_server("--model", f"desk={folder}", port=free_port) as process:
        answer = httpx.post(
            f"http://127.0.0.1:{free_port}/v1/chat/completions", json={"model": "desk", "messages": QUESTION}
        )
        assert answer.status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def _fails(*arguments: str) -> str:
    process = start_server(*arguments)
    output, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == ""
    assert "Traceback" not in error
    return error.splitlines()[-1]


def test_a_taken_port_is_one_clear_line(tmp_path):
    folder = write_student(tmp_path / "student")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = _fails("--model", f"desk={folder}", "--port", port)
    assert f"127.0.0.1:{port}" in line
    assert "choose another" in line


def test_a_missing_or_damaged_folder_is_one_clear_line(tmp_path, free_port):
    assert "SHA256SUMS" in _fails("--model", f"desk={tmp_path}/none", "--port", str(free_port))
    assert "NAME=FOLDER" in _fails("--model", "desk", "--port", str(free_port))
    assert "no such file" in _fails("--config", f"{tmp_path}/none.yaml")


def test_an_ngram_student_needs_no_heavy_library(tmp_path):
    folder = write_student(tmp_path / "student")
    program = (
        "import sys, server.serve, server.app, server.pointer, server.registry_watch\n"
        "from core.models.folder import load_student; from pathlib import Path\n"
        f"load_student(Path({str(folder)!r})).predict(['hello'])\n"
        "heavy = {'torch', 'transformers', 'mlflow', 'pandas', 'evidently', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
