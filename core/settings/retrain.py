"""When and how a student is taught again."""

from __future__ import annotations

from pydantic import Field

from core.settings.sections import Section


class RetrainSettings(Section):
    """When a student is taught again, what it may cost, and what a candidate must show."""

    automatic: bool = True
    """Whether alarms that ask for it start a run by themselves. Off, `tutelage runs --start` does. Needs
    `privacy.store: full`: without texts nothing starts by itself, and asking for it here is an error."""
    cooldown_minutes: float = Field(30.0, ge=0)
    """The shortest time between the end of a run and the start of the next by itself."""
    runs_per_day: int = Field(4, ge=0)
    """Most runs that start by themselves in 24 hours."""
    every_days: float | None = Field(None, gt=0)
    """Start a run when the last one, and the last promotion, are so many days ago, also without any alarm. null: only
    alarms and people start runs."""
    attempts: int = Field(3, ge=1)
    """How often a step of a run is begun before the run is given up."""
    recent_texts: int = Field(2000, ge=0)
    """A run that an alarm has started waits until recent traffic holds so many different texts to learn from: those
    that the teacher has answered, and others as far as `label_budget` goes. 0: it waits for none."""
    recent_wait_hours: float = Field(24.0, ge=0)
    """But it waits no longer than this."""
    label_budget: int = Field(2000, ge=0)
    """Most teacher calls in a run that label recent traffic of which the teacher has not been asked."""
    label_budget_usd: float | None = Field(5.0, ge=0)
    """Dollars that these calls may cost at most; null: no limit."""
    recent_hours: float = Field(24.0, gt=0)
    """What counts as recent traffic where the alarm does not say since when things have changed."""
    recent_weight: float = Field(2.0, gt=0)
    """How much an example of recent traffic counts in training, where any other counts 1."""
    max_examples: int = Field(50_000, ge=100)
    """Most archived answers of the teacher that a run reads, the newest first."""
    holdout: float = Field(0.25, gt=0, lt=0.9)
    """Share of the data that judges a candidate and never teaches it."""
    margin: float = Field(0.02, gt=0, lt=1)
    """A candidate must be shown to agree with the teacher at most this much less often than the champion."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Chance that a candidate that is worse by the margin passes, over all candidates of one alarm together."""
    class_fdr: float = Field(0.1, gt=0, lt=1)
    """Of the classes that a candidate is said to hurt, the share that may be named by chance."""
    max_latency_ms: float = Field(100.0, gt=0)
    """Median time of a candidate for one text on the trainer's CPU, at most."""
    max_size_mb: float = Field(2000.0, gt=0)
    """Size of a candidate's folder, at most."""
    trial_comparisons: int = Field(300, ge=1)
    """Comparisons of live traffic on which champion and candidate are tried side by side."""
    trial_minimum: int = Field(100, ge=1)
    """With fewer than these when the trial's time is over, the candidate is refused."""
    trial_hours: float = Field(72.0, gt=0)
    """The longest that a trial lasts."""
    canary_share: float = Field(0.05, ge=0, le=0.5)
    """Share of live requests that a candidate answers after its trial, before it takes over: by the client's `user`, so
    that a user stays on one version, or by request where there is none. Errors and time alone are watched, and what it
    does not answer, the teacher does. 0: it takes over straight after its trial."""
    canary_requests: int = Field(200, ge=0)
    """Requests of which it is asked before it takes over. 0: it takes over straight after its trial."""
    canary_hours: float = Field(24.0, gt=0)
    """But this lasts no longer than this; it then takes over on what was seen, unless it was asked of none."""
    canary_slowdown: float = Field(2.0, ge=1)
    """It is refused where its answers are shown to take more than so many times the champion's at the same time, in the
    median. Differences of less than 5 milliseconds are never held against it."""
