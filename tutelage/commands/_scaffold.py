"""The settings file that `tutelage init` writes: short, commented, and ready to be edited."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import yaml

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./-]*")


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What is known of a task."""

    task: str
    labels: Sequence[str]
    prompts: str
    labelled: str | None
    teacher_url: str
    teacher_model: str
    api_key_env: str | None


def render(scaffold: Scaffold) -> str:
    """Return the settings as YAML with comments."""
    labels = "".join(f"\n      - {_scalar(label)}" for label in scaffold.labels)
    labelled = f"\n      labelled: [{_scalar(scaffold.labelled)}]" if scaffold.labelled is not None else ""
    key = f"\n      api_key_env: {scaffold.api_key_env}" if scaffold.api_key_env is not None else ""
    return f"""\
# Written by `tutelage init`. Secrets never stand here: settings name the environment variable that holds a key.
version: 1
tasks:
  {scaffold.task}:
    kind: classification
    labels:{labels or " []  # fill in at least two"}
    teacher:
      base_url: {_scalar(scaffold.teacher_url)}
      model: {_scalar(scaffold.teacher_model)}{key}
      ask: choose              # the teacher is shown the labels under numbers, and chooses
      instructions: Classify the user's message.
      may_train: false         # true where the provider's terms allow that its answers train a model
      data_may_leave: false    # true where these texts may be sent to it for labelling
    data:
      prompts: [{_scalar(scaffold.prompts)}]{labelled}
"""


def is_loopback(url: str) -> bool:
    """Whether a URL points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _scalar(text: str) -> str:
    """A YAML scalar that reads back as this text: plain where that is safe, else quoted as in JSON."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return json.dumps(text, ensure_ascii=False)
