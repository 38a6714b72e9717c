"""Alertmanager's side: alarms as its alerts, and posting them (its OpenAPI: `POST /api/v2/alerts`).

As Prometheus does it: an open alarm is posted again and again, each time with an end a few intervals ahead, so that
Alertmanager forgets alarms of a monitor that has died for good; one that was resolved is posted with its end, for a
quarter of an hour. Grouping, silences and who is told are Alertmanager's business.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from core.errors import NotificationError, SettingsError
from core.ledger import Alarm, AlarmState
from core.settings import NotifySettings
from monitoring.notify.message import Message

_SECONDS: Final = 10.0
_ENDS_AFTER: Final = 4  # intervals
RESOLVED_SECONDS: Final = 900.0
"""For how long a resolved alarm is posted again."""


class Alertmanager:
    """One Alertmanager."""

    name: Final = "alertmanager"
    """Under which deliveries are noted in the ledger."""

    def __init__(self, notify: NotifySettings, environment: Mapping[str, str] = os.environ) -> None:
        """Raises SettingsError where no address is set, or the variable with the authorization is missing."""
        if notify.alertmanager_url is None:
            raise SettingsError("notify.alertmanager_url is not set; set it to the base URL of an Alertmanager")
        self._url = notify.alertmanager_url.rstrip("/") + "/api/v2/alerts"
        self._headers = {}
        variable = notify.alertmanager_authorization_env
        if variable is not None:
            value = environment.get(variable)
            if not value:
                raise SettingsError(
                    f"notify.alertmanager_authorization_env names the environment variable {variable}, which is not "
                    "set; set it to the header's value, such as `Bearer …`"
                )
            self._headers["authorization"] = value

    def post(self, alerts: Sequence[dict[str, Any]]) -> None:
        """Post alerts. Blocks; raises NotificationError where they were not taken."""
        try:
            response = httpx.post(self._url, json=list(alerts), headers=self._headers, timeout=_SECONDS)
        except httpx.HTTPError as error:
            raise NotificationError(f"Alertmanager does not answer ({type(error).__name__})") from error
        if response.status_code != httpx.codes.OK:
            raise NotificationError(f"Alertmanager answered {response.status_code}: {response.text[:200]}")


def alert_of(message: Message, now: float, resend_seconds: float) -> dict[str, Any]:
    """An alarm as an alert. `now`: seconds since the epoch."""
    alarm = message.alarm
    ends = now + _ENDS_AFTER * resend_seconds if alarm.state is not AlarmState.RESOLVED else alarm.resolved or now
    alert: dict[str, Any] = {
        "labels": labels_of(alarm),
        "annotations": {"summary": message.title, "description": message.body, "link": message.link},
        "startsAt": _time(alarm.opened),
        "endsAt": _time(ends),
    }
    if message.url:
        alert["generatorURL"] = message.url
    return alert


def labels_of(alarm: Alarm) -> dict[str, str]:
    """What tells it from other alerts, and by which it is routed."""
    return {
        "alertname": "Tutelage" + "".join(part.capitalize() for part in alarm.cause.split("_")),
        "task": alarm.task,
        "cause": alarm.cause,
        "severity": alarm.severity.value,
        "version": alarm.version,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
