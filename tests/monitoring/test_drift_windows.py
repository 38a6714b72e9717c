"""Exchanges in, verdicts out: what is called drift, what is not, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from core.records import Exchange
from monitoring.drift.score import judge_window, score_window
from monitoring.drift.verdict import Verdict
from monitoring.drift.watch import DriftWatch
from tests.support.drift_world import Inputs


class Stream:
    """A drift watch that judges its windows at once."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.watch = DriftWatch()
        self.verdicts: list[Verdict] = []

    def run(self, windows: int, change: Callable[[Exchange], Exchange] = lambda exchange: exchange) -> list[Verdict]:
        """Show it exchanges until so many more windows are judged; returns their verdicts."""
        until = len(self.verdicts) + windows
        while len(self.verdicts) < until:
            self.take(change(self.inputs.exchange()))
        return self.verdicts[-windows:] if windows else []

    def take(self, exchange: Exchange) -> None:
        watch, rules = self.watch, self.inputs.rules
        assert exchange.student is not None
        watch.add(exchange, exchange.student, rules)
        if watch.full is not None and watch.reference is not None:
            window, watch.full = watch.full, None
            verdict = judge_window(
                watch.reference,
                window,
                watch.season,
                list(watch.unsure),
                rules,
                seed=watch.opened,
                called=watch.drifted > 0,
            )
            watch.note(verdict, window, rules)
            self.verdicts.append(verdict)


def parts(verdict: Verdict) -> dict[str, float]:
    return {part.name: part.p_value for part in verdict.parts}


def test_without_drift_nothing_is_called_and_every_signal_is_scored():
    stream = Stream(Inputs(12))
    verdicts = stream.run(3)
    assert not any(verdict.drift or verdict.new_class for verdict in verdicts)
    assert {score.signal for score in verdicts[0].scores} >= {"label_psi", "embedding_mmd", "oov_wasserstein"}
    assert len(verdicts[0].scores) == 10
    assert verdicts[0].season == "the whole reference; season not known yet"
    assert stream.watch.reference is not None
    assert len(stream.watch.reference.rows) == pytest.approx(600, abs=30)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"sure": 4.0}, "inputs"),
        ({"spread": 1.6}, "inputs"),
        ({"strange_words": 0.3}, "inputs"),
        ({"weights": np.arange(12, 0, -1.0)}, "labels"),
    ],
)
def test_what_changes_is_called_by_its_name(change, part):
    inputs = Inputs(12, drift_horizon=20)
    stream = Stream(inputs)
    stream.run(1)
    for name, value in change.items():
        setattr(inputs, name, value)
    (verdict,) = stream.run(1)
    assert verdict.drift == (part,)
    assert stream.watch.drifted == 1
    assert stream.watch.tripped is verdict


def test_a_changed_mix_of_classes_is_no_drift_of_their_inputs():
    inputs = Inputs(12)
    inputs.centres *= 4  # classes differ as much as can be
    stream = Stream(inputs)
    stream.run(1)
    inputs.weights = np.arange(12, 0, -1.0)
    for verdict in stream.run(3):
        assert parts(verdict)["inputs"] > 1e-3


def test_a_class_that_is_not_known_is_suspected_with_examples():
    inputs = Inputs(12)
    stream = Stream(inputs)
    stream.run(1)
    inputs.foreign = 0.15
    (verdict,) = stream.run(1)
    assert verdict.new_class
    cluster = verdict.clusters[0]
    assert cluster.before <= 2
    assert cluster.size > 20
    assert cluster.similarity < cluster.usual_similarity
    assert all(example.text for example in cluster.examples)
    assert stream.watch.clusters == verdict.clusters
    inputs.foreign = 0.0
    stream.run(5)
    assert stream.watch.suspected == 0


def test_templates_that_no_longer_match_are_drift():
    stream = Stream(Inputs(12))
    stream.watch.add_mismatch()  # before there is any version
    stream.run(1)
    while not stream.verdicts[-1].drift:
        for _ in range(20):
            stream.watch.add_mismatch()
        stream.run(1)
    assert stream.verdicts[-1].drift == ("templates",)
    score = {one.signal: one for one in stream.verdicts[-1].scores}["template_mismatch"]
    assert score.score > score.threshold


def test_without_texts_only_what_needs_none_is_scored():
    def bare(exchange: Exchange) -> Exchange:
        assert exchange.student is not None
        student = msgspec.structs.replace(exchange.student, vector=b"")
        return msgspec.structs.replace(exchange, text=None, student=student, text_hash="h" + exchange.id)

    stream = Stream(Inputs(12))
    (verdict,) = stream.run(1, bare)
    assert {score.signal for score in verdict.scores} == {
        "label_psi",
        "label_jensen_shannon",
        "confidence_wasserstein",
        "entropy_wasserstein",
        "template_mismatch",
    }
    assert b"ipo" not in msgspec.msgpack.encode(stream.watch)


def test_no_text_is_in_the_state_but_examples_and_these_can_be_forgotten():
    inputs = Inputs(12)
    stream = Stream(inputs)
    inputs.foreign = 0.1
    stream.run(1)
    for _ in range(50):
        stream.take(inputs.exchange())
    rows = stream.watch.sample.rows
    assert all(bool(row.text) == (row.confidence < 0.5) for row in rows)
    forgotten = {row.exchange for row in rows if row.text} | {row.exchange for row in stream.watch.unsure[-1].rows}
    assert stream.watch.forget(forgotten.__contains__) > 0
    assert not any(row.text or row.vector for row in stream.watch.sample.rows if row.exchange in forgotten)
    assert stream.watch.unsure[-1].rows == []
    assert stream.watch.forget(lambda _: True) > 600
    assert stream.watch.reference is not None
    assert not any(row.vector for row in stream.watch.reference.rows)
    (verdict,) = stream.run(1)
    assert "embedding_mmd" not in {score.signal for score in verdict.scores}


def test_where_only_numbers_differ_nothing_is_left_out():
    def numbered(exchange: Exchange) -> Exchange:
        return msgspec.structs.replace(exchange, text=f"state of order {exchange.id[3:]}")

    stream = Stream(Inputs(12))
    (verdict,) = stream.run(1, numbered)
    assert (verdict.rows, verdict.bursts) == (300, 0)
    assert stream.watch.reference is not None
    assert len(stream.watch.reference.rows) == 600


def test_a_flood_is_judged_as_what_it_is():
    stream = Stream(Inputs(12))
    stream.run(1)
    first = stream.inputs.exchange().text
    (verdict,) = stream.run(1, lambda exchange: msgspec.structs.replace(exchange, text=first))
    assert (verdict.rows, verdict.drift) == (1, ())


def test_it_goes_on_from_its_record():
    stream = Stream(Inputs(12))
    stream.run(1)
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(stream.watch), type=DriftWatch)
    assert copy == stream.watch


def test_a_new_version_begins_anew():
    inputs = Inputs(12)
    stream = Stream(inputs)
    stream.run(1)
    inputs.version = "2"
    stream.take(inputs.exchange())
    assert (stream.watch.version, stream.watch.reference, stream.watch.windows) == ("2", None, 0)
    assert stream.watch.sample.seen == 1


def test_a_window_takes_its_time_and_samples_what_comes():
    inputs = Inputs(12, drift_window_minutes=20, drift_reference_hours=1)
    stream = Stream(inputs)
    (verdict,) = stream.run(1)
    assert stream.watch.reference is not None
    assert stream.watch.reference.asked == pytest.approx(3601, abs=2)
    assert verdict.exchanges == pytest.approx(1201, abs=2)
    assert verdict.rows + verdict.bursts == 300
    assert verdict.ended - verdict.began >= 1200


def test_a_window_that_waits_for_a_week_is_compared_as_it_is():
    inputs = Inputs(12)
    stream = Stream(inputs)
    stream.run(1)
    inputs.pace = 6000.0
    (verdict,) = stream.run(1)
    assert verdict.rows + verdict.bursts == pytest.approx(7 * 86_400 / 6000, abs=3)


def test_the_season_is_learnt_from_calm_weeks_and_then_compared_with():
    """Labels swing over the day: compared with the same hours they are no drift."""
    inputs = Inputs(6, 1, drift_season_weeks=2, drift_horizon=1)
    inputs.pace = 300.0
    stream = Stream(inputs)

    def by_night(exchange: Exchange) -> Exchange:
        inputs.weights = np.arange(1, 7.0) if (inputs.at // 14_400) % 2 else np.arange(6, 0, -1.0)
        return exchange

    while not stream.verdicts or stream.verdicts[-1].season != "the same hours of the week":
        stream.run(1, by_night)
        assert len(stream.verdicts) < 60
    assert stream.watch.season.is_known(14 * 86_400.0)
    assert not any(verdict.drift for verdict in stream.run(3, by_night))


def test_other_label_sets_are_counted():
    def other(exchange: Exchange) -> Exchange:
        assert exchange.student is not None
        return msgspec.structs.replace(exchange, student=msgspec.structs.replace(exchange.student, label_set="old"))

    stream = Stream(Inputs(12))
    (verdict,) = stream.run(1, other)
    assert stream.watch.label_sets == {"old": 1200}
    assert verdict.classes == []


def test_shares_of_classes_follow_the_traffic():
    inputs = Inputs(4, drift_window=1000)
    stream = Stream(inputs)
    stream.run(1)
    inputs.weights = np.array([4.0, 3.0, 2.0, 1.0])
    (verdict,) = stream.run(1)
    shares = {one.label: one for one in verdict.classes}
    assert shares["c0"].before == pytest.approx(0.1, abs=0.05)
    assert shares["c0"].now == pytest.approx(0.4, abs=0.08)
    assert shares["c0"].lower < shares["c0"].now < shares["c0"].upper


def test_false_alarms_are_as_rare_as_promised_over_windows_that_share_a_reference():
    """Few streams of small windows, at one chance in three; benchmarks.monitoring has many."""
    promised, windows, streams, called = 0.3, 4, 10, 0
    for seed in range(streams):
        inputs = Inputs(8, seed, drift_window=100, drift_horizon=windows, drift_false_alarms=promised)
        stream = Stream(inputs)
        called += any(verdict.drift or verdict.new_class for verdict in stream.run(windows))
    assert called / streams <= promised + 3 * np.sqrt(promised * (1 - promised) / streams)


def test_the_product_scores_with_evidently():
    stream = Stream(Inputs(12))
    stream.run(0)
    watch = stream.watch
    while watch.full is None:
        exchange = stream.inputs.exchange()
        assert exchange.student is not None
        watch.add(exchange, exchange.student, stream.inputs.rules)
    assert watch.reference is not None
    arguments = (watch.reference, watch.full, watch.season, [], stream.inputs.rules)
    by_evidently, ours = (judge(*arguments, seed=1) for judge in (score_window, judge_window))
    assert by_evidently.parts == ours.parts
    for shown, own in zip(by_evidently.scores, ours.scores, strict=True):
        assert shown.score == pytest.approx(own.score, rel=1e-2, abs=1e-4)
