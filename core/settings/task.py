"""The sections of one task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from core.labels import LabelSet
from core.limits import Limits
from core.settings.fallback import FallbackSettings
from core.settings.privacy import PrivacySettings
from core.settings.sections import BreakerSettings, RetrySettings, Section, Timeouts
from core.templates import Template, compile_template

_LEAST_WINDOW: Final = 100  # exchanges


class TemplateMessage(Section):
    """One message of a prompt template."""

    role: str
    """Role of the message: system, user, assistant."""
    content: str
    """Its text, with named holes such as `{text}`."""


class TemplateSettings(Section):
    """One prompt template."""

    name: str = "default"
    """Its name; the version is a hash of its content."""
    messages: Annotated[list[TemplateMessage], Field(min_length=1)]
    """The messages that a request must consist of."""


class LinearProbeSettings(Section):
    """A teacher that Tutelage makes and serves itself: a frozen sentence encoder with a head fitted on labels."""

    encoder: str
    """Folder of the encoder (Hugging Face layout), or `package:path` inside an installed Python package."""
    examples: list[Path]
    """CSV or JSONL with `text` and `label`: the labelled examples to fit the head on."""


class TeacherSettings(Section):
    """The teacher: any OpenAI-compatible endpoint."""

    base_url: str
    """Its base URL, ending in /v1 as for OpenAI's clients."""
    replicas: list[str] = []
    """More base URLs of the same teacher, under the same key: the one with the fewest requests under way is asked."""
    model: str
    """Name of the model there."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    ask: Literal["forward", "choose"] = "forward"
    """`forward`: requests go to it untouched but for the model's name, and it answers with a label by itself.
    `choose`: it is an LLM that knows nothing of the labels; it is asked to choose among numbered labels."""
    instructions: str = ""
    """What the labels mean, for `choose`: put before the numbered list."""
    dialects: list[Literal["chat", "completions", "responses", "embeddings"]] = [
        "chat",
        "completions",
        "responses",
        "embeddings",
    ]
    """Addresses that it serves. A request at another is put to it as chat, where it holds nothing but text. `choose`
    and a linear probe need chat alone."""
    may_train: bool = False
    """Whether the provider's terms allow that its answers train a model. Without it nothing is distilled."""
    data_may_leave: bool = False
    """Whether this task's data may be sent to the teacher outside the client's own requests (labelling, shadow)."""
    max_concurrency: int = Field(8, ge=1, le=1024)
    """Calls under way at once when labelling."""
    timeouts: Timeouts = Timeouts()
    """Time-outs towards the teacher."""
    breaker: BreakerSettings = BreakerSettings()
    """When it is left alone."""
    retry: RetrySettings = RetrySettings()
    """When a request is sent once more."""
    input_price: float | None = Field(None, ge=0)
    """Dollars a million input tokens; by default what `genai-prices` knows of the model."""
    output_price: float | None = Field(None, ge=0)
    """Dollars a million output tokens."""
    linear_probe: LinearProbeSettings | None = None
    """Have `tutelage up` fit and serve this teacher at `base_url` (the bundled example does)."""

    def speaks(self, dialect: str) -> bool:
        """Whether it can be asked at this address itself. What Tutelage serves speaks chat alone."""
        return dialect == "chat" or (dialect in self.dialects and self.linear_probe is None)


class DistilSettings(Section):
    """How the student of a task is distilled."""

    architecture: Literal["ngram", "encoder"] = "ngram"
    """`ngram`: hashed n-grams, microseconds on a CPU. `encoder`: a Hugging Face sequence classifier."""
    encoder: str | None = None
    """For `encoder`: the folder, or `package:path`, of the model to start from."""
    encoder_layers: int = Field(3, ge=1, le=48)
    """For `encoder`: keep this many of its first layers."""
    temperature: float = Field(2.0, gt=0)
    """Temperature of logit matching."""
    epochs: int | None = Field(None, ge=1)
    """Passes over the data; by default as fits the architecture."""
    seed: int = 0
    """Seed of everything random."""


class TrustSettings(Section):
    """When the student may answer."""

    min_confidence: float = Field(0.5, ge=0, le=1)
    """Below this calibrated confidence the teacher answers (`low_confidence`)."""
    target_agreement: float | None = Field(None, gt=0.5, lt=1)
    """How often a student's answers to clients must agree with the teacher. Where it is set, each version answers only
    from the lowest confidence on, not below `min_confidence`, at which its held-out answers show that; where none does,
    the teacher answers everything. A version that was judged before this was set keeps `min_confidence`. null:
    `min_confidence` alone."""
    target_error: float = Field(0.1, gt=0, lt=0.5)
    """Chance that agreement is below `target_agreement` all the same. Smaller is safer, and needs more examples."""
    min_agreement: float = Field(0.75, ge=0, le=1)
    """A class is trusted where the student's agreement with the teacher on it, shrunk towards the overall one, reaches
    this."""
    min_examples: int = Field(5, ge=1)
    """A class with fewer held-out examples is not trusted."""


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


class ShadowSettings(Section):
    """Which of the student's answers the teacher is asked about as well, off the request path.

    Needs `privacy.store: full` and `teacher.data_may_leave: true`. Where these are missing nothing is sampled, and
    asking for it here is an error.
    """

    floor: float = Field(0.05, ge=0, le=1)
    """Probability with which an exchange that the student answered is sampled, at the least. 0: nothing is."""
    unsure: float = Field(0.25, ge=0, le=1)
    """The same where the student is only as sure as `trust.min_confidence` asks; from there the probability falls in a
    straight line to `floor` at confidence 1."""
    calls_per_hour: int | None = Field(1000, ge=1)
    """Calls an hour, for each gateway, whose workers have an even part each: traffic that would need more is sampled
    less. null: no limit."""
    dollars_per_day: float | None = Field(None, gt=0)
    """Dollars a day, kept in the same way, for each gateway; and where the worker finds that so much is spent, it asks
    no more until the next day (UTC). null: no limit."""
    max_concurrency: int = Field(4, ge=1, le=256)
    """Calls under way at once in one worker."""
    attempts: int = Field(6, ge=1, le=20)
    """How often the teacher is tried for one exchange, with growing pauses, before it counts as refused."""
    repeat: float = Field(0.02, ge=0, le=1)
    """Share of the comparisons, those that the cascade asked for included, for which the teacher is asked a second
    time, so that it is known how often it agrees with itself. This comes on top of `calls_per_hour`. 0: never."""


class WatchSettings(Section):
    """How a task's student is watched, and what an alarm does."""

    interval_error: float = Field(0.05, gt=0, lt=0.5)
    """Chance that an agreement's interval ever misses the truth, however often one looks."""
    false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance of a false alarm about agreement within `horizon` comparisons, over all detectors of the task together."""
    horizon: int = Field(20_000, ge=100)
    """Comparisons for which `false_alarms` is promised, counted as if each had the lowest sampling probability."""
    margin: float = Field(0.01, ge=0, lt=0.5)
    """Drops of agreement smaller than this are not looked for. A class, and what is served, may fall by so much;
    student agreement that falls by less is an alarm by chance only."""
    reference_comparisons: int = Field(10_000, ge=100)
    """The lower bounds of agreement are learnt from a version's first so many comparisons. What is expected of student
    agreement is learnt from all of them."""
    recent_comparisons: int = Field(200, ge=20)
    """What counts as recent agreement: the last so many to twice as many comparisons."""
    burst_window: int = Field(200, ge=1)
    """Near-duplicates among so many comparisons count as one."""
    class_fdr: float = Field(0.1, gt=0, lt=1)
    """Of the classes that an alarm names, the share that may be named by chance."""
    withdraw: Literal["rejudged", "named", "none"] = "rejudged"
    """From which classes an alarm takes trust at once. `named`: from those with evidence of loss. `rejudged`: also from
    those which the rule of `trust` would not trust on what was seen since the change, so that something is done where
    no class can be named yet. `none`: from none."""
    max_fallback_share: float = Field(0.5, gt=0, le=1)
    """Trust is not taken from so many classes that the teacher would answer more than this share; the alarm then says
    which classes kept their trust all the same, and is critical."""
    retrain_on: list[
        Literal[
            "student_agreement",
            "class_agreement",
            "served_agreement",
            "below_earlier_level",
            "feedback_accuracy",
            "calibration",
            "confident_wrongness",
            "input_drift",
        ]
    ] = ["student_agreement", "class_agreement", "served_agreement", "below_earlier_level", "feedback_accuracy"]
    """Alarms that ask for the student to be taught again; the others only warn. `input_drift` does so only once
    agreement is shown to have fallen since the drift began. A changed teacher, a class that seems to be missing and
    numbers that have grown stale never do: they need a person."""
    cooldown_minutes: float = Field(30.0, ge=0)
    """The shortest time between two alarms of one cause about one version."""
    confident_from: list[float] = Field([0.8, 0.9, 0.95, 0.99], min_length=1, max_length=8)
    """Confidences from which on the rate of wrong answers is reported, for student and teacher. A disagreement in which
    the student was at least as sure as the lowest of them is kept for `tutelage review`."""
    confident_alarm_from: float = Field(0.9, gt=0, lt=1)
    """From this confidence on the rate of disagreements is watched, and reported by class. That it rises is an alarm
    (`confident_wrongness`), which only warns."""
    confident_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance of a false alarm of this kind within `horizon` comparisons."""
    review_queue: int = Field(200, ge=0, le=10_000)
    """Most disagreements that wait for a person's verdict. 0: none are kept."""
    feedback_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance of a false alarm about accuracy on feedback (`feedback_accuracy`) within `horizon` of the student's
    answers with feedback."""
    feedback_wait_hours: float = Field(24.0, ge=0)
    """How long feedback waits for its exchange to be archived before it is given up."""
    feedback_days: float = Field(90.0, gt=0)
    """How many days back an exchange is looked for that feedback calls by the completion's id of the upstream. One that
    it calls by our id is found however old it is."""
    calibration_margin: float = Field(0.05, ge=0, lt=0.5)
    """How much the student's confidence may be above its agreement, in the mean over all inputs, before that is an
    alarm (`calibration`)."""
    calibration_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance of a false alarm of this kind within `horizon` comparisons."""
    drift_window: int = Field(1000, ge=0)
    """Exchanges in a window that is compared with the reference for drift, at least 100; 0 compares none. The reference
    is made of a version's first exchanges, three times as many."""
    drift_window_minutes: float = Field(10.0, ge=0)
    """A window spans at least so long; where more exchanges come in that time, it is a random sample of them."""
    drift_reference_hours: float = Field(24.0, ge=0)
    """The reference spans at least so long; nothing is compared before."""
    drift_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance that anything is called drift, or a new class suspected, within `drift_horizon` windows without drift."""
    drift_horizon: int = Field(200, ge=1, le=10_000)
    """Windows for which `drift_false_alarms` is promised."""
    drift_season_weeks: float = Field(3.0, ge=0, le=26)
    """Once calm windows span so many weeks, the mix of labels is compared with that of the same hours of the week;
    until then, and for 0 always, with that of the whole reference."""
    golden: list[Path] = []
    """CSV or JSONL with `text`, and `label` where the truth is known: what the teacher is asked again and again, to see
    whether it has changed. Without any, the first comparisons of the task's traffic are taken, where texts are kept."""
    golden_size: int = Field(200, ge=20, le=2000)
    """Most texts that are asked again."""
    golden_hours: float | None = Field(24.0, gt=0)
    """How often they are asked. null: never. Needs `teacher.data_may_leave: true`."""
    golden_dollars: float | None = Field(1.0, gt=0)
    """Dollars that asking all of them once may cost, where the teacher's price is known; what is left over then is not
    asked. null: no limit."""
    golden_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance that the teacher is ever called changed while it has not."""
    hold_on_teacher_drift: bool = False
    """Whether no retraining starts by itself as long as the teacher is called changed: a student would learn from
    answers that nobody has looked at yet."""
    stale_hours: float | None = Field(24.0, gt=0)
    """Traffic that goes on for so long without anything fresh to judge it by is an alarm, and recent agreement is then
    unknown (NaN). null: neither."""
    report_hours: float | None = Field(24.0, ge=1, le=24 * 366)
    """How long the windows are of which the monitor writes a report by itself (`tutelage report`), for each version
    that answered in one: 24 is a day of UTC. null: none is written by itself."""
    report_days: float | None = Field(90.0, gt=0)
    """For how many days reports are kept after they were written. null: for good."""

    @field_validator("confident_from")
    @classmethod
    def _are_confidences(cls, confidences: list[float]) -> list[float]:
        if not all(0 < one < 1 for one in confidences):
            raise ValueError("a confidence from which on answers count as sure lies between 0 and 1")
        return confidences

    @field_validator("drift_window")
    @classmethod
    def _windows_are_large_enough(cls, size: int) -> int:
        if 0 < size < _LEAST_WINDOW:
            raise ValueError(
                f"a window of {size} exchanges shows nothing; give at least {_LEAST_WINDOW}, or 0 to compare none"
            )
        return size


class LimitSettings(Section):
    """What a task may use in all, over all its clients; docs/limits.md says how exactly it is kept."""

    requests_per_minute: int | None = Field(None, ge=1)
    """Requests a minute. null: no limit."""
    tokens_per_minute: int | None = Field(None, ge=1)
    """Tokens a minute, of prompts and answers together. null: no limit."""
    dollars_per_day: float | None = Field(None, ge=0)
    """Dollars that the answers to clients may cost a day (UTC). null: no limit."""
    dollars_per_month: float | None = Field(None, ge=0)
    """Dollars that they may cost a calendar month (UTC). null: no limit."""

    def limits(self) -> Limits:
        """The same numbers, as the gateway keeps them."""
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.dollars_per_day, self.dollars_per_month)


class DataSettings(Section):
    """Files of a task."""

    prompts: list[Path] = []
    """CSV or JSONL with `text` (and `label`, which is ignored): prompts for the teacher to label."""
    labelled: list[Path] = []
    """CSV or JSONL with `text` and `label`: known truth."""
    evaluation: list[Path] = []
    """CSV or JSONL with `text` and `label`: kept for evaluation, never trained on."""
    golden: list[Path] = []
    """CSV or JSONL with `text` and `label`: what every candidate must answer so, or it is refused."""


class TaskSettings(Section):
    """One task: a named job that clients address as `model`."""

    kind: Literal["classification"] = "classification"
    """Kind of the task."""
    labels: Annotated[list[str], Field(min_length=2)]
    """The labels, in a fixed order."""
    aliases: list[str] = []
    """Further model names under which clients may ask for this task, for example `gpt-4o`."""
    templates: list[TemplateSettings] = [
        TemplateSettings(messages=[TemplateMessage(role="user", content="{text}")]),
    ]
    """Prompt templates that the student can read."""
    teacher: TeacherSettings
    """The teacher."""
    distil: DistilSettings = DistilSettings()
    """How the student is distilled."""
    trust: TrustSettings = TrustSettings()
    """When the student may answer."""
    shadow: ShadowSettings = ShadowSettings()
    """What the teacher is asked as well."""
    retrain: RetrainSettings = RetrainSettings()
    """When and how the student is taught again."""
    watch: WatchSettings = WatchSettings()
    """How the student is watched."""
    privacy: PrivacySettings = PrivacySettings()
    """What is stored."""
    limits: LimitSettings = LimitSettings()
    """What it may use in all."""
    fallback: FallbackSettings = FallbackSettings()
    """What the teacher may answer in the student's stead."""
    data: DataSettings = DataSettings()
    """Files."""

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: list[str]) -> list[str]:
        LabelSet(labels)
        return labels

    @field_validator("templates")
    @classmethod
    def _templates_compile(cls, templates: list[TemplateSettings]) -> list[TemplateSettings]:
        for template in templates:
            _compile(template)
        return templates

    @model_validator(mode="after")
    def _shadow_is_permitted(self) -> TaskSettings:
        wanted = {name for name in ("floor", "unsure", "repeat") if getattr(self.shadow, name) > 0}
        asked = wanted & self.shadow.model_fields_set
        obstacle = self._shadow_obstacle()
        if asked and self.shadow.floor > 0 and obstacle:
            raise ValueError(
                f"shadow.{min(asked)} asks for exchanges to be sent to the teacher as well, but {obstacle}, or set "
                "shadow.floor to 0"
            )
        return self

    @model_validator(mode="after")
    def _learning_is_permitted(self) -> TaskSettings:
        asked = self.retrain.automatic and "automatic" in self.retrain.model_fields_set
        obstacle = self._text_obstacle()
        if asked and obstacle:
            raise ValueError(
                f"retrain.automatic asks for candidates that learn from exchanges, but {obstacle}, or set "
                "retrain.automatic to false"
            )
        return self

    @model_validator(mode="after")
    def _golden_is_permitted(self) -> TaskSettings:
        asked = {"golden", "golden_hours"} & self.watch.model_fields_set
        obstacle = self._golden_obstacle()
        if asked and self.watch.golden_hours is not None and obstacle:
            raise ValueError(
                f"watch.{min(asked)} asks for the teacher to be asked the same texts again, but {obstacle}, or set "
                "watch.golden_hours to null"
            )
        return self

    @property
    def samples(self) -> bool:
        """Whether exchanges of this task are sampled: the settings want it, privacy and the teacher permit it."""
        return self.shadow.floor > 0 and not self._shadow_obstacle()

    @property
    def asks_golden(self) -> bool:
        """Whether the teacher is asked a golden set: the settings want it, privacy and the teacher permit it."""
        return self.watch.golden_hours is not None and not self._golden_obstacle()

    @property
    def retrains(self) -> bool:
        """Whether alarms start runs by themselves: the settings want it, and traffic is kept to learn from."""
        return self.retrain.automatic and not self._text_obstacle()

    def _shadow_obstacle(self) -> str:
        """What forbids it and how to allow it; empty where nothing does."""
        return self._text_obstacle() or self._leaving_obstacle()

    def _golden_obstacle(self) -> str:
        """The same for texts that are asked again and again: files need not be stored."""
        return self._leaving_obstacle() or ("" if self.watch.golden else self._text_obstacle())

    def _leaving_obstacle(self) -> str:
        """The same for everything that goes to the teacher and no client has sent there."""
        if not self.teacher.data_may_leave:
            return "teacher.data_may_leave is false; set it to true where this task's data may go there"
        return ""

    def _text_obstacle(self) -> str:
        """The same for everything that needs the texts of exchanges."""
        if self.privacy.store != "full":
            return f"privacy.store is {self.privacy.store!r}, so that their text is not kept; set it to full"
        return ""

    def label_set(self) -> LabelSet:
        """The labels with their version."""
        return LabelSet(self.labels)

    def compiled_templates(self) -> tuple[Template, ...]:
        """The prompt templates, ready to match."""
        return tuple(_compile(template) for template in self.templates)


def _compile(template: TemplateSettings) -> Template:
    return compile_template(template.name, [(message.role, message.content) for message in template.messages])
