from __future__ import annotations

import json
import subprocess
import sys

import pytest

from core.errors import BudgetExceededError, TeacherError
from core.ledger import Ledger
from core.settings import load_settings
from tests.support.desk import INTENTS, messages
from tests.support.labelling_teacher import LabellingTeacher
from tests.support.processes import ROOT, asgi_server, write_settings
from training.first_student import first_student
from training.workflow import labels_file, open_registry


class _Knowing(LabellingTeacher):
    """Knows each message's intent."""

    def __init__(self) -> None:
        super().__init__()
        self.truth = dict(messages(400))

    def _answer(self, request):
        status, headers, document = super()._answer(request)
        text = request["messages"][-1]["content"]
        document["choices"][0]["message"]["content"] = self.truth.get(text, "nonsense")
        return status, headers, document


@pytest.fixture
def app():
    return _Knowing()


@pytest.fixture
def address(app):
    with asgi_server(app) as url:
        yield url


def _write(tmp_path, address, **teacher):
    (tmp_path / "prompts.csv").write_text(
        "text\n" + "\n".join(text for text, _ in messages(400)) + "\n", encoding="utf-8"
    )
    kept = "\n".join(f"{text},{intent}" for text, intent in messages(30, seed=3))
    (tmp_path / "evaluation.csv").write_text(f"text,label\n{kept}\n", encoding="utf-8")
    given = {"base_url": f"{address}/v1", "model": "t", "may_train": True, "data_may_leave": True}
    free = {"input_price": 0, "output_price": 0}
    document = {
        "state": str(tmp_path / "state"),
        "tasks": {
            "desk": {
                "labels": list(INTENTS),
                "teacher": given | free | teacher,
                "distil": {"epochs": 12},
                "data": {"prompts": ["prompts.csv"], "evaluation": ["evaluation.csv"]},
            }
        },
    }
    return write_settings(tmp_path / "tutelage.yaml", document)


def test_from_prompts_to_champion(tmp_path, app, address):
    settings = load_settings(_write(tmp_path, address))
    stages = []
    run = first_student(settings, "desk", lambda progress: stages.append(progress.stage))
    assert list(dict.fromkeys(stages)) == ["label", "train", "calibrate", "register"]
    assert run.registered.champion
    assert run.registered.trusted == 3
    assert open_registry(settings).version_of("desk", "champion") == "1"
    ledger = Ledger(settings.ledger_url)
    assert ledger.trusted("desk") == {"1": frozenset(INTENTS)}
    ledger.close()
    assert labels_file(settings, "desk").is_file()
    folder = settings.state / "runs" / run.run
    assert {path.name for path in folder.iterdir()} == {"student", "evaluation.json"}
    assert len(json.loads((folder / "evaluation.json").read_bytes())["trust"]) == 3


def test_a_teacher_that_costs_money_is_not_asked_without_anybody_agreeing(tmp_path, app, address):
    settings = load_settings(_write(tmp_path, address, input_price=1.0))
    with pytest.raises(BudgetExceededError, match=r"labelling \d+ prompts .* run `tutelage label --task desk"):
        first_student(settings, "desk")
    assert not app.requests


def test_a_teacher_that_does_not_know_the_labels_is_told_of(tmp_path, app, address):
    app.truth = {}
    with pytest.raises(TeacherError, match=r"for example 'nonsense'.*ask: choose"):
        first_student(load_settings(_write(tmp_path, address)), "desk")


@pytest.mark.integration
def test_as_a_process_it_tells_how_far_it_is(tmp_path, app, address):
    config = _write(tmp_path, address)
    command = [sys.executable, "-m", "training.first_student", "--config", str(config), "--task"]
    done = subprocess.run([*command, "desk"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(dict.fromkeys(line["stage"] for line in lines)) == ["label", "train", "calibrate", "register", "done"]
    assert lines[-1]["message"].startswith("Version 1 of desk is champion")
    assert all(0 <= line["done"] <= line["total"] for line in lines)
    failed = subprocess.run([*command, "dask"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert failed.returncode == 1
    assert failed.stderr == "error: there is no task 'dask'; did you mean 'desk'?\n"
