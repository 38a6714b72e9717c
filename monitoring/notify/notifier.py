"""The notifier: tells each channel what it has not been told yet, and tries again where that failed.

A task of its own in the monitor, and the work in a thread: the readers wait for nobody's mail server. There is no queue
to overflow: what is to be told is read from the ledger, some of it at a time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.backoff import doubled
from core.errors import NotificationError
from core.journal import is_cancelled
from core.lease import Leases
from core.ledger import Alarm, AlarmState, Ledger, Notification
from core.settings import Settings
from monitoring.notify.alertmanager import RESOLVED_SECONDS, Alertmanager, alert_of
from monitoring.notify.channels import Channel
from monitoring.notify.message import Event, Message, compose, escalated

_LEASE: Final = "notifier"
_ROUND_SECONDS: Final = 1.0
_AT_ONCE: Final = 10  # messages in a round, for each channel
_ALARMS: Final = 500
_LOOK_BACK: Final = 86_400.0  # for how long it is tried to tell of an alarm that is over
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 900.0

_log = structlog.get_logger("tutelage.notifier")

Told = dict[tuple[str, str, str], Notification]


class Notifier:
    """Tells the channels. `run` is the task; `round` does what there is to do now, and blocks."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        channels: Sequence[Channel],
        alertmanager: Alertmanager | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._channels = channels
        self._alertmanager = alertmanager
        self._clock = clock
        self._stopped = threading.Event()
        self._next_post = 0.0
        self._failures = 0
        """Posts to Alertmanager that failed in a row."""
        self.delivered = 0
        self.failed = 0
        """Messages delivered, and attempts that failed, since this process began."""

    async def run(self, leases: Leases) -> None:
        """Tell until cancelled; of several monitors one does. Redis or the ledger being away does not end it."""
        if not self._channels and self._alertmanager is None:
            return
        up = True
        while not is_cancelled():
            try:
                if await leases.take(_LEASE):
                    await self._round()
                up = True
            except (RedisError, SQLAlchemyError) as error:
                if up:
                    _log.warning("notifying_stopped", error=str(error) or type(error).__name__)
                up = False
            await asyncio.sleep(_ROUND_SECONDS)

    async def _round(self) -> None:
        """The round in a thread; a cancelled one is waited for, so that its last delivery is written down."""
        work = asyncio.create_task(asyncio.to_thread(self.round))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stopped.set()
            await asyncio.wait([work])
            raise

    def round(self) -> None:
        """Tell what there is to tell. Raises sqlalchemy.exc.SQLAlchemyError while the ledger is away."""
        now = self._clock()
        alarms = [alarm for alarm in self._recent() if alarm.resolved is None or now - alarm.resolved < _LOOK_BACK]
        told = self._ledger.notifications.about([alarm.id for alarm in alarms])
        for channel in self._channels:
            self._tell(channel, alarms, told, now)
        if self._alertmanager is not None:
            self._post(self._alertmanager, alarms, told, now)

    def _recent(self) -> list[Alarm]:
        """The open alarms and the newest of the others, the oldest first."""
        newest = self._ledger.alarms.newest(limit=_ALARMS)
        found = {alarm.id: alarm for alarm in (*self._ledger.alarms.open(), *newest)}
        return sorted(found.values(), key=lambda alarm: alarm.opened)

    def _tell(self, channel: Channel, alarms: Iterable[Alarm], told: Told, now: float) -> None:
        tried = 0
        for alarm in alarms:
            event = due(alarm, channel.name, told)
            if event is None or now < _again(told.get((alarm.id, event, channel.name))):
                continue
            if tried >= _AT_ONCE or self._stopped.is_set():
                return
            tried += 1
            if not self._send(channel, self._message(alarm, event, now)):
                return  # the others would fare no better now, and wait for the next round

    def _send(self, channel: Channel, message: Message) -> bool:
        alarm, event, notes = message.alarm, message.event, self._ledger.notifications
        try:
            channel.send(message)
        except NotificationError as error:
            self.failed += 1
            notes.failed(alarm.id, event, channel.name, self._clock(), error.message)
            _log.warning("not_notified", alarm=alarm.id, told=event.value, channel=channel.name, error=error.message)
            return False
        self._note(alarm, event, channel.name)
        return True

    def _note(self, alarm: Alarm, event: Event, channel: str) -> None:
        """The message is delivered; one about an alarm that is bad already says what an escalation would."""
        self.delivered += 1
        now, notes = self._clock(), self._ledger.notifications
        notes.sent(alarm.id, event, channel, now)
        if event is Event.OPENED and escalated(alarm):
            notes.sent(alarm.id, Event.ESCALATED, channel, now)
        _log.info("notified", alarm=alarm.id, told=event.value, channel=channel)

    def _message(self, alarm: Alarm, event: Event, now: float) -> Message:
        return compose(alarm, event, self._settings, self._ledger, now)

    def _post(self, alertmanager: Alertmanager, alarms: Sequence[Alarm], told: Told, now: float) -> None:
        """Post all that is open, or was resolved a short while ago: at once where there is news, else at intervals."""
        name, resend = alertmanager.name, self._settings.notify.resend_seconds
        news = {alarm.id: event for alarm in alarms if (event := due(alarm, name, told)) is not None}
        if now < self._next_post and (not news or self._failures):
            return
        posted = [alarm for alarm in alarms if alarm.id in news or _lives(alarm, now)]
        if not posted:
            return
        messages = [self._message(alarm, _event_of(alarm), now) for alarm in posted]
        try:
            alertmanager.post([alert_of(message, now, resend) for message in messages])
        except NotificationError as error:
            self._failures += 1
            self.failed += 1
            self._next_post = now + doubled(_FIRST_PAUSE, self._failures, _LONGEST_PAUSE)
            for identifier, event in news.items():
                self._ledger.notifications.failed(identifier, event, name, now, error.message)
            if self._failures == 1:
                _log.warning("not_notified", alarms=list(news), channel=name, error=error.message)
            return
        self._failures, self._next_post = 0, now + resend
        for alarm in posted:
            if alarm.id in news:
                self._note(alarm, news[alarm.id], name)


def due(alarm: Alarm, channel: str, told: Told) -> Event | None:
    """What the channel has not been told of an alarm. An alarm that was over before anyone was told is told once."""

    def was(event: Event) -> bool:
        note = told.get((alarm.id, event, channel))
        return note is not None and note.sent is not None

    if alarm.state is AlarmState.RESOLVED:
        return None if was(Event.RESOLVED) else Event.RESOLVED
    if not was(Event.OPENED):
        return Event.OPENED
    return Event.ESCALATED if escalated(alarm) and not was(Event.ESCALATED) else None


def _again(note: Notification | None) -> float:
    """When to try again, in seconds since the epoch."""
    if note is None or not note.attempts:
        return 0.0
    return note.tried + doubled(_FIRST_PAUSE, note.attempts, _LONGEST_PAUSE)


def _lives(alarm: Alarm, now: float) -> bool:
    return alarm.resolved is None or now - alarm.resolved < RESOLVED_SECONDS


def _event_of(alarm: Alarm) -> Event:
    return Event.RESOLVED if alarm.state is AlarmState.RESOLVED else Event.OPENED
