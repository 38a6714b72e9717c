"""Trying the channels out, with a message that says that it means nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from core.ids import mint
from core.ledger import Alarm, Ledger, Severity
from core.settings import NotifySettings, Settings
from monitoring.notify.alertmanager import Alertmanager, alert_of
from monitoring.notify.channels import Channel, open_channels
from monitoring.notify.message import Event, Message, link_of

Tester = Callable[[float], None]
"""Sends the trial message at that moment (seconds since the epoch); raises NotificationError where it is not taken."""

_CAUSE: Final = "test_notification"
_SECONDS: Final = 60.0  # until Alertmanager may take it for over


def open_testers(settings: Settings, ledger: Ledger) -> dict[str, Tester]:
    """One for every channel that the settings name, by its name. Raises SettingsError where one cannot be opened."""
    notify = settings.notify
    testers: dict[str, Tester] = {}
    if notify.alertmanager_url is not None:
        testers[Alertmanager.name] = partial(_post, Alertmanager(notify), notify)
    for channel in open_channels(notify, ledger.id):
        testers[channel.name] = partial(_send, channel, notify)
    return testers


def _send(channel: Channel, notify: NotifySettings, now: float) -> None:
    channel.send(_message(notify, now))


def _post(alertmanager: Alertmanager, notify: NotifySettings, now: float) -> None:
    message = _message(notify, now)
    alertmanager.post([alert_of(message, now, _SECONDS / 4)])


def _message(notify: NotifySettings, now: float) -> Message:
    alarm = Alarm(
        id=mint("al"),
        task="none",
        version="none",
        signal=_CAUSE,
        cause=_CAUSE,
        severity=Severity.INFO,
        opened=now,
        updated=now,
        cooldown=now,
        retrain=False,
        labels=(),
        evidence={},
        first_exchange="",
    )
    body = "This is a test: notifications of Tutelage arrive here. Nothing has happened, and nothing is to be done."
    return Message(alarm, Event.OPENED, "[TEST] Tutelage: a test notification", body, link_of(alarm.id, notify))
