"""Inputs of which the student is unsure, alike, and more of them than there were: perhaps a class that is not known.

A warning for a person, who knows whether a label is missing: nothing that is taught without one can answer it.
"""

from __future__ import annotations

from typing import Any, Final

from core.settings import WatchSettings
from monitoring.causes.cause import Cause, Finding, Look
from monitoring.drift.rules import SHARES
from monitoring.drift.verdict import Cluster
from monitoring.signals import NEW_CLASS
from monitoring.telling import percent

_EXAMPLES: Final = 10


class NewClass(Cause):
    """A cluster of what the student is unsure of has grown; `monitoring.drift.new_classes` says how that is judged."""

    name = NEW_CLASS

    def __init__(self, watch: WatchSettings) -> None:
        self._watch = watch

    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""
        drift = look.state.drift
        return drift.version == look.state.champion and drift.suspected > 0

    def is_due(self, look: Look) -> bool:
        """Never: what is known of it is known when it opens."""
        del look
        return False

    def find(self, look: Look) -> Finding:
        """The clusters, with examples where texts are kept."""
        clusters = look.state.drift.clusters
        told: dict[str, Any] = {
            "clusters": [_told(one) for one in clusters],
            "examples": [
                {
                    "exchange": example.exchange,
                    "cluster": number,
                    "student": example.label,
                    "confidence": round(example.confidence, 4),
                    "text": example.text,
                }
                for number, one in enumerate(clusters)
                for example in one.examples
            ][:_EXAMPLES],
        }
        return Finding(told, what=_what(clusters), sure=self._sure(), retrain=False)

    def recovered(self, look: Look) -> str:
        """Why the alarm may be closed; empty: it may not."""
        return "" if look.known is None or look.state.drift.suspected else "the last windows hold no such cluster"

    def restart(self, look: Look) -> None:
        """Begin anew after the alarm was closed."""
        look.state.drift.settle_new_class()

    def _sure(self) -> str:
        chance = self._watch.drift_false_alarms * SHARES[NEW_CLASS]
        return (
            f"where nothing changes, such a cluster is reported within {self._watch.drift_horizon} windows with a "
            f"chance of {percent(chance)} at most. Whether it is a class of its own, only a person can say."
        )


def _told(cluster: Cluster) -> dict[str, Any]:
    return {
        "size": cluster.size,
        "of_exchanges": cluster.exchanges,
        "in_reference": cluster.before,
        "of_reference": cluster.reference,
        "p_value": float(f"{cluster.p_value:.3g}"),
        "nearest_class": cluster.nearest,
        "similarity": round(cluster.similarity, 3),
        "usual_similarity": round(cluster.usual_similarity, 3),
    }


def _what(clusters: list[Cluster]) -> str:
    if not clusters:
        return "The student is unsure of inputs that are alike, and there are more of them than there were."
    first = clusters[0]
    return (
        f"The student is unsure of {first.size} inputs among {first.exchanges:,} that are alike, where the reference "
        f"held {first.before} among {first.reference:,}. The nearest known class is {first.nearest!r}, at a similarity "
        f"of {first.similarity:.2f} where its own inputs have {first.usual_similarity:.2f}. A label may be missing."
    )
