"""Accepted and unknown templates in the ledger, and the copy that roles keep of the accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from core.accepted_templates import TaskTemplates, read_accepted
from core.errors import DataError, StateError
from core.ledger import AcceptedTemplate, Ledger, UnknownTemplate
from core.ledger.unknown_templates import MOST_ROWS
from core.settings import TaskSettings
from core.templates import compile_template

BARE = compile_template("default", [("user", "{text}")])
SORT = compile_template("sort", [("user", "Sort: {text}")])
EXAMPLE = (("user", "Sort: it"),)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url):
    ledger = Ledger(url)
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def tasks():
    settings = TaskSettings.model_validate(
        {"labels": ["a", "b"], "teacher": {"base_url": "http://127.0.0.1:1/v1", "model": "t"}}
    )
    return {"desk": settings, "mail": settings}


def accepted(template=SORT, task="desk", at=1.0, source="one"):
    return AcceptedTemplate(task, template, "me", at, source)


def unknown(identifier="one", requests=1, at=5.0, **more):
    values = {"template": SORT, "example": EXAMPLE, "exchange": f"ex_{identifier}", "user": "ann"} | more
    return UnknownTemplate("desk", identifier, ("user",), requests, at, at, **values)


def test_an_accepted_template_is_in_force_until_it_is_dropped_and_may_come_back(ledger):
    templates = ledger.templates
    templates.accept(accepted())
    assert templates.all("mail") == []
    assert templates.in_force("desk", [BARE]) == (BARE, SORT)
    with pytest.raises(DataError, match="already"):
        templates.accept(accepted())
    assert templates.drop("desk", SORT.version, actor="me", at=2.0)
    assert not templates.drop("desk", SORT.version, actor="me", at=2.0)
    assert templates.in_force("desk", [BARE]) == (BARE,)
    assert templates.all("desk") == [replace(accepted(), dropped_at=2.0)]
    templates.accept(accepted(at=3.0))
    assert templates.in_force("desk", [BARE]) == (BARE, SORT)
    assert [entry.action for entry in ledger.audit_trail("desk")] == [
        "accept_template",
        "drop_template",
        "accept_template",
    ]
    assert ledger.audit_trail("desk")[0].detail == {"source": "one", "messages": [["user", "Sort: {text}"]]}


def test_of_two_templates_that_read_the_same_one_counts(ledger):
    ledger.templates.accept(accepted(compile_template("other", [("user", "{text}")])))
    assert ledger.templates.in_force("desk", [BARE]) == (BARE,)


def test_a_damaged_template_says_so(ledger, url):
    ledger.templates.accept(accepted())
    ledger.unknown_templates.note([unknown("two")], {})
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE accepted_templates SET template = 'x'"))
        connection.execute(text("UPDATE unknown_templates SET template = 'x'"))
    engine.dispose()
    with pytest.raises(StateError, match="sort@"):
        ledger.templates.all()
    with pytest.raises(StateError, match="two"):
        ledger.unknown_templates.all()


def test_several_gateways_count_into_one_row(ledger):
    noted = ledger.unknown_templates
    assert noted.note([unknown(requests=3)], {"desk": 10, "mail": 5}) == [unknown(requests=3)]
    assert noted.note([unknown(requests=4, at=9.0)], {"desk": 20}) == []
    assert noted.note([], {"desk": 5}) == []
    (found,) = noted.all()
    assert found == replace(unknown(requests=7), among=35, last_seen=9.0)
    assert noted.ids() == {("desk", "one")}
    assert noted.get("desk", "one") == found
    assert noted.get("mail", "one") is None


def test_a_suggestion_that_becomes_another_keeps_its_past(ledger):
    noted = ledger.unknown_templates
    noted.note([unknown("rest", 3, template=None)], {"desk": 3})
    noted.reject("desk", "rest", actor="me", at=6.0)
    assert noted.note([unknown("wide", 2, at=7.0)], {"desk": 2}, [("desk", "rest", "wide")]) == []
    (found,) = noted.all()
    assert (found.id, found.requests, found.among, found.first_seen, found.rejected) == ("wide", 5, 5, 5.0, True)
    # Both for the first time at once is one new template, not two.
    fresh = noted.note([unknown("a"), unknown("b")], {}, [("desk", "a", "b")])
    assert [one.id for one in fresh] == ["b"]


def test_a_suggestion_without_requests_is_there_only_to_take_over(ledger):
    noted = ledger.unknown_templates
    noted.note([unknown("rest", 5)], {})
    assert noted.note([unknown("shape", 0)], {}, [("desk", "rest", "shape")]) == []
    assert [(one.id, one.requests) for one in noted.all()] == [("shape", 5)]
    assert noted.note([unknown("empty", 0)], {}, [("desk", "never", "empty")]) == []
    assert [one.id for one in noted.all()] == ["shape"]


def test_what_belongs_to_another_row_leaves_none_behind(ledger):
    noted = ledger.unknown_templates
    noted.note([unknown("rest", 5)], {})
    noted.note([unknown("rest", -5), unknown("shape", 5), unknown("never", -1)], {})
    assert [(one.id, one.requests) for one in noted.all()] == [("shape", 5)]


def test_the_rows_are_bounded(ledger):
    noted = ledger.unknown_templates
    noted.note([unknown(f"{number:03}", at=100.0 + number) for number in range(MOST_ROWS + 5)], {})
    assert len(noted.all()) == MOST_ROWS
    assert noted.note([unknown("new", at=200.0)], {}) == []
    assert [one.id for one in noted.note([unknown("late", at=100_000.0)], {})] == ["late"]
    known = {one.id for one in noted.all()}
    assert len(known) == MOST_ROWS
    assert "000" not in known


def test_rejecting_is_audited_and_silences(ledger):
    noted = ledger.unknown_templates
    noted.note([unknown()], {})
    assert noted.reject("desk", "one", actor="me", at=6.0)
    assert not noted.reject("desk", "one", actor="me", at=6.0)
    assert noted.note([unknown()], {}) == []
    assert noted.all(rejected=False) == []
    assert noted.all()[0].rejected
    assert [entry.action for entry in ledger.audit_trail("desk")] == ["reject_template"]


def test_accepting_settles_the_unknown_ones_that_it_covers_until_it_is_dropped(ledger):
    noted = ledger.unknown_templates
    noted.note([unknown("one"), unknown("two"), unknown("three")], {})
    ledger.templates.accept(accepted(source="one"), also=["two"])
    assert [one.id for one in noted.all()] == ["three"]
    assert noted.note([unknown("one")], {}) == []  # from a gateway that had not heard of it
    assert [one.id for one in noted.all()] == ["three"]
    ledger.templates.drop("desk", SORT.version, actor="me", at=9.0)
    assert [one.id for one in noted.note([unknown("one")], {})] == ["one"]


def test_examples_of_what_must_go_are_dropped_and_others_may_take_their_place(ledger):
    noted = ledger.unknown_templates
    noted.note([unknown("one"), unknown("two")], {})
    assert noted.drop_examples(lambda task, exchange, user: (task, exchange, user) == ("desk", "ex_one", "ann")) == 1
    found = {one.id: one for one in noted.all()}
    assert found["two"] == unknown("two")
    assert (found["one"].template, found["one"].example, found["one"].exchange, found["one"].user) == (None, (), "", "")
    noted.note([unknown("one", exchange="ex_other")], {})
    assert {one.exchange for one in noted.all()} == {"ex_other", "ex_two"}
    assert noted.drop_examples(lambda *_: True, texts=False) == 2
    assert all(one.template == SORT and not one.example for one in noted.all())


def test_the_last_known_templates_outlive_a_restart_without_the_ledger(ledger, tasks, tmp_path):
    file = tmp_path / "state" / "templates.json"
    templates = TaskTemplates(tasks, ledger, file)
    assert not templates.refresh()
    assert templates.of("desk") == (BARE,)
    assert not file.exists()
    ledger.templates.accept(accepted())
    assert templates.refresh()
    assert not templates.refresh()
    assert (templates.of("desk"), templates.of("mail")) == ((BARE, SORT), (BARE,))
    assert read_accepted(file) == [accepted()]
    away = Ledger(f"sqlite:///{tmp_path}")  # a folder is no database
    again = TaskTemplates(tasks, away, file)
    assert again.refresh()
    assert not again.refresh()
    assert again.of("desk") == (BARE, SORT)
    away.close()
    ledger.templates.drop("desk", SORT.version, actor="me", at=2.0)
    assert templates.refresh()
    assert templates.of("desk") == (BARE,)
    assert templates.by_version("desk") == {SORT.version: SORT, BARE.version: BARE}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 2, "accepted": []}', b"\xff"])
def test_a_damaged_copy_holds_nothing(tmp_path, content):
    file = tmp_path / "templates.json"
    file.write_bytes(content)
    assert read_accepted(file) == []
