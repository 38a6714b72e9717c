"""Telling people about alarms: through Alertmanager, or directly through Apprise.

What was told is in the ledger, and what is to be told follows from the alarms there, so a monitor that dies between the
two tells it again when it comes back: at least once, and twice only then.
"""

from core.ledger import Ledger
from core.settings import Settings
from monitoring.notify.alertmanager import Alertmanager, alert_of
from monitoring.notify.channels import Channel, open_channels
from monitoring.notify.message import Event, Message, compose, link_of
from monitoring.notify.notifier import Notifier
from monitoring.notify.trial import open_testers

__all__ = [
    "Alertmanager",
    "Channel",
    "Event",
    "Message",
    "Notifier",
    "alert_of",
    "compose",
    "link_of",
    "open_channels",
    "open_notifier",
    "open_testers",
]


def open_notifier(settings: Settings, ledger: Ledger) -> Notifier:
    """The notifier with the channels that the settings name, which may be none.

    Raises SettingsError where they name what is not there.
    """
    alertmanager = None if settings.notify.alertmanager_url is None else Alertmanager(settings.notify)
    return Notifier(settings, ledger, open_channels(settings.notify, ledger.id), alertmanager)
