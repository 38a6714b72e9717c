"""What a run learns from and is judged by."""

from __future__ import annotations

import time

import pytest

from core.clusters import cluster_key
from core.settings import RetrainSettings
from tests.support import desk
from training.data import Taught, assemble, choose_unanswered, counts_by_source, digest, parts_of
from training.examples import Example
from training.taught import cluster_hash, pack_taught, read_taught
from training.traffic import Sample, Unanswered, read_traffic

NOW = 1_800_000_000.0
NOTHING = Taught(frozenset(), 0.0)


def _sample(text, intent="order", at=NOW, **values):
    return Sample(Example(text, teacher=intent, method="vote", source="shadow"), f"ex_{text}", at, **values)


def _samples(count, at=NOW, seed=0):
    return [_sample(text, intent, at) for text, intent in desk.messages(count, seed=seed)]


def _assemble(samples, taught=NOTHING, *, since=NOW - 10, apart=(), salt="run_1", **settings):
    return assemble(samples, RetrainSettings(**settings), taught, recent_since=since, kept_apart=apart, salt=salt)


def test_each_cluster_is_in_one_part_and_the_gates_take_one_of_each():
    samples = [*_samples(300), *[_sample(f"{s.example.text.upper()}!!", s.example.teacher) for s in _samples(300)]]
    found = _assemble(samples)
    assert len(found) == 600
    parts = {}
    for sample in found:
        parts.setdefault(cluster_key(sample.example.text), set()).add(sample.part)
    assert all(len(part) == 1 for part in parts.values())
    gate = [cluster_key(sample.example.text) for sample in found if sample.gate]
    assert len(gate) == len(set(gate)) == sum(part == {"holdout"} for part in parts.values())
    split = parts_of(found)
    assert len(split.train) + len(split.calibration) + len(split.holdout) == 600
    assert 0.15 < len(split.holdout) / 600 < 0.35


def test_another_run_holds_out_others():
    first, second = ({s.exchange for s in _assemble(_samples(300), salt=salt) if s.gate} for salt in ("run_1", "run_2"))
    assert first != second
    assert 0 < len(first & second) < len(first)


def test_what_the_champion_was_taught_is_taught_again_and_never_held_out():
    samples = _samples(300)
    known = {cluster_hash(sample.example.text) for sample in samples[:200]}
    found = _assemble(samples, Taught(frozenset(known), 0.0))
    held = [sample for sample in found if sample.part == "holdout"]
    assert held
    assert not any(cluster_hash(sample.example.text) in known for sample in held)
    assert all(sample.gate for sample in held)
    assert {sample.part for sample in found[:200]} == {"train", "calibration"}


def test_where_nobody_knows_what_it_was_taught_only_later_traffic_judges():
    samples = [*_samples(200, at=NOW), *_samples(200, at=NOW - 100, seed=1)]
    copies = [_sample(f"{sample.example.text}!", at=NOW) for sample in samples[200:]]
    gate = [sample for sample in _assemble([*copies, *samples], Taught(None, NOW - 50)) if sample.gate]
    assert gate
    assert {sample.exchange for sample in gate} <= {sample.exchange for sample in samples[:200]}


def test_recent_traffic_counts_more_and_the_sampling_probability_does_not():
    found = _assemble(
        [_sample("one two", at=NOW, probability=0.01), _sample("three four", at=NOW - 100)], recent_weight=3.0
    )
    assert [(sample.recent, sample.example.weight) for sample in found] == [(True, 3.0), (False, 1.0)]
    assert counts_by_source(found) == {"shadow": 1, "shadow, recent": 1}


def test_the_newest_answer_to_a_text_counts_and_gold_is_kept():
    gold = Sample(Example("Where is it", label="refund", source="gold.csv"))
    found = _assemble([_sample("where is  it", "praise"), _sample("where is it", "order", at=NOW - 50), gold])
    (sample,) = found
    assert (sample.example.teacher, sample.example.label) == ("praise", "refund")


def test_near_duplicates_of_evaluation_texts_are_left_out():
    assert [s.example.text for s in _assemble([_sample("My parcel!"), _sample("my money")], apart=["parcel my"])] == [
        "my money"
    ]


def test_the_same_data_has_the_same_digest():
    samples = _samples(30)
    assert digest(samples) == digest(samples[::-1])
    assert digest(samples) != digest(samples[1:])


def test_what_the_teacher_is_asked_about():
    unanswered = [Unanswered(f"ex_{i}", NOW, f"text {'x' * i}", "order" if i % 2 else "refund") for i in range(40)]
    chosen = choose_unanswered(unanswered, classes=["order"], known=["text x"], budget=5, salt="a")
    assert len(chosen) == 5
    assert {one.student_label for one in chosen} == {"order"}
    assert all(one.text != "text x" for one in chosen)
    assert chosen == choose_unanswered(unanswered[::-1], classes=["order"], known=["text x"], budget=5, salt="a")
    assert chosen != choose_unanswered(unanswered, classes=["order"], known=["text x"], budget=5, salt="b")
    burst = [Unanswered(f"ex_{i}", NOW, f"order {i}", "order") for i in range(9)]
    assert len(choose_unanswered(burst, classes=[], known=[], budget=5, salt="a")) == 1
    assert choose_unanswered(unanswered, classes=[], known=[], budget=0, salt="a") == []


def test_a_redacted_text_teaches_and_judges_nobody():
    samples = [_sample(s.example.text, s.example.teacher, redacted=i % 2 == 0) for i, s in enumerate(_samples(300))]
    found = _assemble(samples)
    assert {sample.part for sample in found if sample.redacted} == {"train"}
    assert {sample.part for sample in found if not sample.redacted} == {"train", "calibration", "holdout"}
    kept = {cluster_key(sample.example.text) for sample in found if sample.redacted}
    assert not any(cluster_key(sample.example.text) in kept for sample in found if sample.part != "train")


def test_the_archive_is_read_once_an_exchange_newest_first(world):
    labels = world.settings.task("desk").label_set()
    traffic = read_traffic(world.archive, "desk", labels, recent_since=time.time() - 3600, limit=10_000)
    assert len(traffic.answered) == 500
    assert [s.at for s in traffic.answered] == sorted((s.at for s in traffic.answered), reverse=True)
    assert {s.example.source for s in traffic.answered} == {"cascade", "shadow"}
    assert {s.probability for s in traffic.answered} == {1.0, 0.25}
    sample = traffic.answered[0]
    assert sample.example.method == "distribution"
    assert sample.example.distribution[sample.example.teacher] == pytest.approx(0.9, abs=1e-3)
    assert len(traffic.unanswered) == 120
    assert len(read_traffic(world.archive, "desk", labels, recent_since=0, limit=50).answered) == 50


def test_a_students_folder_says_what_it_was_taught(tmp_path):
    (tmp_path / "taught.bin").write_bytes(pack_taught(["my parcel", "Parcel, my!", "money"]))
    taught = read_taught(tmp_path)
    assert taught is not None
    assert len(taught) == 2
    assert cluster_hash("MY parcel 123") in taught
    assert read_taught(tmp_path / "elsewhere") is None
