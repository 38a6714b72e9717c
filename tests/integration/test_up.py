"""`tutelage up` as a newcomer meets it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import openai
import pytest
import yaml

from core.archive import Archive
from core.ledger import Ledger
from core.records import Kind
from core.settings import load_settings
from tests.support.processes import ROOT, free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
EXAMPLE = ROOT / "examples" / "support_desk"


def example_on_free_ports(folder):
    """The bundled example's settings, with ports and a state folder of their own."""
    document = yaml.safe_load((EXAMPLE / "tutelage.yaml").read_text(encoding="utf-8"))
    ports = {name: free_port() for name in ("gateway", "student", "redis")}
    document |= {name: {"port": port} for name, port in ports.items()} | {"state": str(folder / "state")}
    task = document["tasks"]["support-desk"]
    task["teacher"]["base_url"] = f"http://127.0.0.1:{free_port()}/v1"
    probe = task["teacher"]["linear_probe"]
    probe["examples"] = [str(EXAMPLE / name) for name in probe["examples"]]
    task["data"] = {name: [str(EXAMPLE / file) for file in files] for name, files in task["data"].items()}
    path = folder / "tutelage.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path, f"http://127.0.0.1:{ports['gateway']}"


class Running:
    """`tutelage up`, and what it has printed."""

    def __init__(self, config):
        command = [sys.executable, "-m", "tutelage", "up", "--config", str(config)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def text(self):
        return "".join(self.lines)

    def wait_for(self, words, seconds):
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self._reader.join(10)
        self.process.stdout.close()
        return code


@contextlib.contextmanager
def running(config):
    up = Running(config)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.interrupt()


def ask_until(url, stop, outcome):
    """Ask again and again; every request is tried once."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)
    while not stop.is_set():
        try:
            answer = client.chat.completions.with_raw_response.create(
                model="support-desk", messages=[{"role": "user", "content": "My parcel is a week late"}]
            )
            outcome.append((answer.headers["x-tutelage-exchange"], answer.headers["x-tutelage-reason"]))
        except openai.OpenAIError as error:
            outcome.append((None, repr(error)))
        time.sleep(0.05)


def test_a_newcomers_first_hour(tmp_path):
    config, url = example_on_free_ports(tmp_path)
    with running(config) as up:
        up.wait_for("Ctrl-C stops", 240)
        assert "answered by its teacher" in up.text
        assert "curl -s" in up.text
        assert "from openai import OpenAI" in up.text
        stop, outcome = threading.Event(), []
        asking = threading.Thread(target=ask_until, args=(url, stop, outcome))
        asking.start()
        up.wait_for("has taken over", 300)
        time.sleep(1)
        stop.set()
        asking.join(30)
        assert [why for identifier, why in outcome if identifier is None] == []
        reasons = [why for _, why in outcome]
        assert reasons[0] == "no_student"
        assert reasons[-1] == "champion"
        _try_everything_of_the_readme(url)
        assert up.interrupt() == 0
        assert "Stopped." in up.text
    _assert_archived(config, [identifier for identifier, _ in outcome])

    with running(config) as up:
        up.wait_for("Ctrl-C stops", 60)
        assert "answered by its student" in up.text
        assert httpx.get(f"{url}/readyz").json()["tasks"] == {"support-desk": "student"}
        assert up.interrupt() == 0
    assert "Traceback" not in "".join(log.read_text() for log in (tmp_path / "state" / "logs").glob("*.log"))


def _try_everything_of_the_readme(url):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)
    question = [{"role": "user", "content": "My parcel is a week late"}]
    answer = client.chat.completions.create(model="support-desk", messages=question, logprobs=True, top_logprobs=3)
    assert answer.choices[0].message.content == "late_delivery"
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 3
    spread = client.chat.completions.create(
        model="support-desk", messages=question, extra_headers={"x-tutelage-distribution": "1"}
    )
    assert len(spread.model_extra["tutelage"]["distribution"]) == 42
    stream = client.chat.completions.create(model="support-desk", messages=question, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "late_delivery"
    forced = client.chat.completions.with_raw_response.create(
        model="support-desk", messages=question, extra_headers={"x-tutelage-answer-by": "teacher"}
    )
    assert forced.headers["x-tutelage-reason"] == "forced"
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-5", messages=question)
    assert caught.value.code == "model_not_found"
    feedback = httpx.post(f"{url}/v1/feedback", json={"exchange": answer.id, "label": "late_delivery"})
    assert feedback.status_code == 201


def _assert_archived(config, identifiers):
    """A clean stop has shipped and archived everything."""
    settings = load_settings(config)
    ledger = Ledger(settings.ledger_url)
    archive = Archive(settings.archive_url, ledger)
    archived = archive.query("SELECT id FROM records", "support-desk").column("id").to_pylist()
    assert len(archived) == len(set(archived))
    assert set(identifiers) <= set(archived)
    assert archive.count("support-desk", Kind.FEEDBACK) == 1
    ledger.close()


def fails(config, **environment):
    command = [sys.executable, "-m", "tutelage", "up", "--config", str(config)]
    found = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )
    assert found.returncode == 1
    assert "Traceback" not in found.stdout + found.stderr
    lines = found.stderr.strip().splitlines()
    assert len(lines) == 1, found.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("section", ["gateway", "student", "redis"])
def test_a_taken_port_is_one_clear_line(tmp_path, section):
    config, _ = example_on_free_ports(tmp_path)
    port = load_settings(config).model_dump()[section]["port"]
    with socket.create_server(("127.0.0.1", port)):
        line = fails(config)
    assert str(port) in line
    assert f"{section}.port" in line


def test_a_missing_file_is_one_clear_line(tmp_path):
    config, _ = example_on_free_ports(tmp_path)
    config.write_text(config.read_text().replace("prompts.csv", "gone.csv"), encoding="utf-8")
    assert "gone.csv" in fails(config)
    assert "no such file" in fails(tmp_path / "absent.yaml")


def test_a_state_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    config, _ = example_on_free_ports(tmp_path)
    (tmp_path / "a-file").write_text("in the way", encoding="utf-8")
    line = fails(config, TUTELAGE_STATE=str(tmp_path / "a-file" / "state"))
    assert "cannot be written" in line


def test_a_full_disk_is_one_clear_line(tmp_path):
    config, _ = example_on_free_ports(tmp_path)
    disk = tmp_path / "small-disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk to fill")
    try:
        line = fails(config, TUTELAGE_STATE=str(disk / "state"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert "MiB" in line
    assert "free some" in line
