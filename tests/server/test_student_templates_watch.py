"""A template that a person has accepted is one that the students can read."""

from __future__ import annotations

from core.accepted_templates import TaskTemplates
from core.ledger import AcceptedTemplate, Ledger
from core.settings import TaskSettings
from core.templates import compile_template
from server.batching import Limits
from server.metrics import StudentMetrics
from server.templates_watch import TemplatesWatch
from server.versions import ServedTask, Versions

SORT = compile_template("sort", [("user", "Sort: {text}")])


async def test_accepted_templates_are_taken_in_and_dropped_ones_let_go(tmp_path):
    teacher = {"base_url": "http://127.0.0.1:1/v1", "model": "t"}
    settings = TaskSettings.model_validate({"labels": ["a", "b"], "teacher": teacher, "aliases": ["gpt-4o"]})
    bare = settings.compiled_templates()
    versions = Versions([ServedTask("desk", bare, model_names=("gpt-4o",))], Limits(), StudentMetrics())
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    templates = TaskTemplates({"desk": settings, "elsewhere": settings}, ledger, tmp_path / "templates.json")
    watch = TemplatesWatch(templates, versions, 1.0)

    def known():
        tasks = [versions.find_task(name) for name in ("desk", "gpt-4o")]
        assert tasks[0] is not None
        assert tasks[0] == tasks[1]
        return tasks[0].templates

    await watch.poll()
    assert known() == bare
    ledger.templates.accept(AcceptedTemplate("desk", SORT, "me", 1.0))
    await watch.poll()
    assert known() == (*bare, SORT)
    ledger.templates.drop("desk", SORT.version, actor="me", at=2.0)
    await watch.poll()
    assert known() == bare
    ledger.close()
