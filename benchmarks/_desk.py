"""The bundled support desk as the demo plays it: a dozen intents are held back until its second wave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks._hurried import hurried_house, hurried_task
from benchmarks._traffic import Message, read_messages, write_messages

TASK: Final = "support-desk"
PLANTED: Final = ("refund_status", "return_request", "exchange_request")
"""Classes that the bad candidate is taught to mistake for one another."""

_EXAMPLE: Final = Path(__file__).resolve().parents[1] / "examples" / "support_desk"
_LAUNCH: Final = frozenset(
    {
        "buy_spare_parts",
        "cancel_order",
        "close_account",
        "compatibility_question",
        "hacked_account",
        "late_delivery",
        "missing_parts",
        "order_status",
        "promo_code_problem",
        "sensor_fault",
        "setup_help",
        "upgrade_plan",
    }
)
"""What people write about once a product is launched and a rival's customers are taken over, and did not before."""
_QUICK: Final = frozenset({*PLANTED, "charged_twice", "login_problem", "order_status", "sensor_fault", "setup_help"})


@dataclass(frozen=True, slots=True)
class Desk:
    """Its messages and its settings; `quick` keeps eight intents."""

    quick: bool

    def first_wave(self) -> list[Message]:
        """What people ask from the beginning."""
        return self._ordinary("first_wave")

    def second_wave(self) -> list[Message]:
        """The same, and half as much again about the launch."""
        return self._ordinary("first_wave") + self._launch("prompts", "first_wave", "second_wave")

    def fresh(self) -> list[Message]:
        """The same mixture, of messages that are kept for evaluation: no student is ever taught them."""
        return self._ordinary("evaluation") + 2 * self._launch("evaluation", "second_wave_evaluation")

    def evaluation(self) -> list[Message]:
        """Messages of every intent, kept for evaluation."""
        return self._read("evaluation")

    def settings(self, folder: Path) -> dict[str, Any]:
        """The example's settings, watched more closely than an ordinary day asks for, so that minutes suffice.

        What the settings name is written into `folder`.
        """
        document: dict[str, Any] = yaml.safe_load((_EXAMPLE / "tutelage.yaml").read_text(encoding="utf-8"))
        task = document["tasks"][TASK]
        task["labels"] = [label for label in task["labels"] if self._kept(label)]
        labelled = self._read("labelled", "second_wave_labelled")
        task["teacher"]["linear_probe"]["examples"] = [write_messages(folder / "labelled.csv", labelled)]
        prompts = self._ordinary("prompts")[: 200 if self.quick else None]
        kept_apart = self._read("evaluation", "second_wave_evaluation")
        task["data"] = {
            "prompts": [write_messages(folder / "prompts.csv", prompts)],
            "evaluation": [write_messages(folder / "evaluation.csv", kept_apart)],
        }
        task |= hurried_task(
            reference=100 if self.quick else 1500,
            recent_texts=200 if self.quick else 2000,
            wait_hours=0.03,
            trial=40 if self.quick else 200,
            trial_minimum=20 if self.quick else 60,
        )
        return document | hurried_house()

    def _ordinary(self, *names: str) -> list[Message]:
        return [message for message in self._read(*names) if message.label not in _LAUNCH]

    def _launch(self, *names: str) -> list[Message]:
        return [message for message in self._read(*names) if message.label in _LAUNCH]

    def _read(self, *names: str) -> list[Message]:
        messages = read_messages([_EXAMPLE / f"{name}.csv" for name in names])
        return [message for message in messages if self._kept(message.label)]

    def _kept(self, label: str | None) -> bool:
        return not self.quick or label in _QUICK
