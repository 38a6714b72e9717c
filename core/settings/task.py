"""The sections of one task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from core.labels import LabelSet
from core.limits import Limits
from core.settings.fallback import FallbackSettings
from core.settings.privacy import PrivacySettings
from core.settings.retrain import RetrainSettings
from core.settings.sections import BreakerSettings, RetrySettings, Section, Timeouts
from core.settings.watch import WatchSettings
from core.templates import Template, compile_template


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
