"""How real data is dealt out: nothing is both learnt from and judged on."""

from __future__ import annotations

import csv
import json

import pytest

from benchmarks._shift import read_shift

_DOMAINS = {f"domain{d}": [f"intent{d}{i}" for i in range(3)] for d in range(4)}


@pytest.fixture
def folder(tmp_path):
    """Two published parts that share some texts, domains, and sentences that belong nowhere."""
    intents = [intent for names in _DOMAINS.values() for intent in names]
    for part, count in (("train", 40), ("test", 20)):
        rows = [(f"{intent} text {number}", intent) for intent in intents for number in range(count)]
        rows += [(f"{intent} only in {part} {number}", intent) for intent in intents for number in range(20)]
        _write(tmp_path / f"{part}.csv", ["text", "category"], rows)
    return tmp_path


def _write(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _with_domains(folder):
    (folder / "domains.json").write_text(json.dumps(_DOMAINS), encoding="utf-8")
    _write(folder / "out_of_scope.csv", ["text"], [(f"nonsense {number}",) for number in range(70)])
    return folder


def _texts(messages):
    return {message.text for message in messages}


@pytest.mark.parametrize("domains", [True, False])
def test_no_message_is_both_learnt_from_and_judged_on(folder, domains):
    shift = read_shift(_with_domains(folder) if domains else folder, seed=1, quick=False)
    seen = [_texts(part) for part in (shift.labelled, shift.prompts, shift.first, shift.second, shift.fresh)]
    labelled, prompts, first, second, fresh = seen
    assert not fresh & (labelled | prompts | first | second)
    assert not labelled & (prompts | first | second)
    assert not prompts & (first | second)
    assert first <= second
    assert len(labelled | prompts | first | second | fresh) == 12 * 80 + (70 if domains else 0)


def test_prompts_and_first_wave_know_nothing_of_what_comes_later(folder):
    shift = read_shift(_with_domains(folder), seed=1, quick=False)
    assert shift.early == {*_DOMAINS["domain0"], *_DOMAINS["domain1"]}
    assert {message.label for message in (*shift.prompts, *shift.first)} == shift.early
    for everything in (shift.labelled, shift.second, shift.fresh):
        assert {message.label for message in everything} == set(shift.labels)
    assert {message.label for message in shift.unchanged} == shift.early
    assert shift.labels[-1] == "out_of_scope"


def test_a_seed_says_everything(folder):
    one, same, other = (read_shift(folder, seed=seed, quick=False) for seed in (1, 1, 2))
    assert one == same
    assert one.early != other.early or one.fresh != other.fresh
