"""Served agreement under watch: whether what clients receive has fallen below what they received before.

The stream is all exchanges that somebody answered. What the teacher answered agrees with itself and is seen with
probability 1, so it counts with the weight f of `monitoring.statistics.weights`; what the student answered counts where
it was drawn, with f/p. For an exchange of class c (the student's label, whoever answered)

    E[w (m_c - a)] = f (m_c - P(what is served agrees | c)),

so the detector's supermartingale is one over exchanges, and its horizon counts comparisons of full weight as the
student's does. Baselines by class make a changing mix of classes no change; a teacher that answers a smaller share of
a class is one, since clients do receive worse answers then.

An exchange of which no comparison came moves nothing. Those are the student's, which agree less often than the mix, so
that leaving them out delays an alarm and never causes one.
"""

from __future__ import annotations

import msgspec

from monitoring.rules import Rules
from monitoring.statistics.baseline import Baseline
from monitoring.statistics.detector import Detector, Mark
from monitoring.statistics.weights import WeightedMean


class ServedWatch(msgspec.Struct):
    """A version's baseline of served agreement, and the detector under it. O(1), bounded by the number of classes."""

    baseline: Baseline = msgspec.field(default_factory=Baseline)
    detector: Detector = msgspec.field(default_factory=Detector)
    classes: dict[str, WeightedMean] = {}
    """What was served, by the student's label; by an empty one where the student was not asked."""
    frozen: bool = False
    """The baseline learns no more: an alarm has given classes to the teacher, and how well it does is no yardstick for
    the student."""

    def observe(self, label: str, agrees: bool, weight: float, mark: Mark, whole: WeightedMean, rules: Rules) -> None:
        """Take one exchange. `whole`: served agreement since the version began, this exchange included."""
        self.detector.observe(agrees, weight, self.baseline.of(label), mark)
        if self.frozen or whole.weight > rules.reference_comparisons:
            return
        mean = self.classes.get(label)
        if mean is None:
            mean = self.classes[label] = WeightedMean()
        mean.add(agrees, weight)
        self.baseline.learn(whole, self.classes, rules.baseline_error, rules.margin)
