"""The world of the shifts: nothing is both taught and asked, and a typo is one."""

from __future__ import annotations

import csv
import json
import random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks._shift_world import build, draw, misspelt

_DOMAINS = {f"domain{d}": [f"intent{d}{i}" for i in range(6)] for d in range(4)}
sentences = st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=9), min_size=1, max_size=12)


def _data(folder):
    (folder / "domains.json").write_text(json.dumps(_DOMAINS), encoding="utf-8")
    intents = [intent for names in _DOMAINS.values() for intent in names]
    for part in ("train", "val", "test"):
        with (folder / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "category"])
            writer.writerows([f"{intent} {part} {number}", intent] for intent in intents for number in range(20))
    return folder


def test_what_is_asked_was_taught_to_nobody(tmp_path):
    world = build(_data(tmp_path), tmp_path, {}, quick=True)
    assert len(world.domains) == 3
    assert world.intents(world.early) == [intent for d in range(2) for intent in _DOMAINS[f"domain{d}"][:5]]
    for intent in world.labels.names:
        assert not set(world.prompts[intent]) & set(world.traffic[intent])
        assert len(world.traffic[intent]) == 24
    asked = draw(world, ["intent00", "intent11"], 200, random.Random(0), [9.0, 1.0])
    world.teacher.answer(asked)
    shares = [sum(world.teacher.label(text) == name for text in asked) for name in ("intent00", "intent11")]
    assert sum(shares) == 200
    assert shares[0] > 150


@given(sentences, st.floats(0, 1), st.integers(0, 99))
def test_typos_leave_the_words_in_their_places(words, share, seed):
    text = " ".join(words)
    changed = misspelt(text, share, random.Random(seed)).split(" ")
    assert len(changed) == len(words)
    assert all(len(a) - 1 <= len(b) <= len(a) for a, b in zip(words, changed, strict=True))
    assert misspelt(text, 0.0, random.Random(seed)) == " ".join(text.split())
