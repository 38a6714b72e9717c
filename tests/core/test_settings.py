import pytest
import yaml

from core.errors import SettingsError
from core.settings import load_settings

TASK = {"labels": ["a", "b"], "teacher": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}


def write(tmp_path, document):
    path = tmp_path / "tutelage.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_a_file_and_the_environment_make_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_GATEWAY__PORT", "9123")
    task = TASK | {"data": {"prompts": ["prompts.csv"]}}
    settings = load_settings(write(tmp_path, {"gateway": {"port": 9000}, "tasks": {"desk": task}}))
    assert settings.gateway.port == 9123
    assert settings.task("desk").data.prompts == [tmp_path / "prompts.csv"]
    assert settings.student.base_url == "http://127.0.0.1:8081"
    assert settings.ledger_url.startswith("sqlite:///")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"gatway": {}, "tasks": {"d": TASK}}, "unknown key 'gatway'; did you mean 'gateway'?"),
        ({"gateway": {"prot": 1}, "tasks": {"d": TASK}}, "unknown key 'gateway.prot'; did you mean 'port'?"),
        ({"tasks": {"d": TASK | {"lables": []}}}, "unknown key 'tasks.d.lables'; did you mean 'labels'?"),
        ({"tasks": {"d": TASK | {"teacher": {"base_url": "x", "model": "m", "modle": 1}}}}, "did you mean 'model'?"),
        ({"tasks": {"d": TASK | {"templates": [{"messages": [{"role": "user", "contant": ""}]}]}}}, "mean 'content'?"),
        ({"tasks": {"d": TASK | {"templates": [{"messages": [{"role": "user", "content": "x"}]}]}}}, "has no hole"),
        ({"tasks": {"d": TASK | {"labels": ["a", "a"]}}}, "a label occurs twice"),
        ({"tasks": {"d": TASK | {"watch": {"confident_from": [0.9, 1.5]}}}}, "between 0 and 1"),
        ({"tasks": {}}, "there is no task"),
        ({"tasks": {"d": TASK | {"aliases": ["e"]}, "e": TASK}}, "the model name 'e' is used by 'd' and by 'e'"),
        ({"tasks": {"../d": TASK}}, "tasks"),
        ({"version": 2, "tasks": {"d": TASK}}, "version"),
        ({"gateway": {"port": 70000}, "tasks": {"d": TASK}}, "gateway.port"),
        (["a list"], "must hold a mapping"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, document, message):
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, document))
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_and_a_broken_file_are_named(tmp_path):
    with pytest.raises(SettingsError, match="no such file"):
        load_settings(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("tasks: [", encoding="utf-8")
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_settings(broken)


def test_an_unknown_environment_variable_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTELAGE_GATWAY__PORT", "1")
    with pytest.raises(SettingsError, match="did you mean 'gateway'"):
        load_settings(write(tmp_path, {"tasks": {"d": TASK}}))


def test_an_unknown_task_is_answered_with_the_nearest(tmp_path):
    settings = load_settings(write(tmp_path, {"tasks": {"support-desk": TASK}}))
    with pytest.raises(SettingsError, match="did you mean 'support-desk'"):
        settings.task("suport-desk")


TEACHER = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "data_may_leave": True}
PERMITTED = TASK | {"teacher": TEACHER}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (TASK | {"shadow": {"floor": 0.1}}, "tasks.d: shadow.floor asks for exchanges to be sent"),
        (TASK | {"shadow": {"floor": 0.1}}, "teacher.data_may_leave is false; set it to true"),
        (TASK | {"shadow": {"unsure": 0.5}}, "shadow.unsure asks"),
        (PERMITTED | {"privacy": {"store": "none"}, "shadow": {"floor": 0.1}}, "privacy.store is 'none'"),
        (PERMITTED | {"shadow": {"floor": 1.5}}, "tasks.d.shadow.floor"),
    ],
)
def test_sampling_that_is_not_permitted_is_refused_with_what_to_change(tmp_path, task, message):
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, {"tasks": {"d": task}}))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("task", "samples"),
    [
        (TASK, False),
        (TASK | {"shadow": {"calls_per_hour": 5}}, False),
        (TASK | {"shadow": {"floor": 0, "unsure": 0.5}}, False),
        (PERMITTED, True),
        (PERMITTED | {"privacy": {"store": "none"}}, False),
        (PERMITTED | {"shadow": {"floor": 0}}, False),
    ],
)
def test_sampling_is_on_where_it_is_permitted_and_nothing_else_is_said(tmp_path, task, samples):
    assert load_settings(write(tmp_path, {"tasks": {"d": task}})).task("d").samples is samples
