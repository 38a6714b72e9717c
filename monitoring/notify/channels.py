"""Ways to people that take one message at a time, through Apprise.

Apprise is imported here, when a channel is opened: it takes half a second. It reaches nothing but the services of the
URLs: no plugins, no stored state, no pictures from its project's pages in messages.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from core.errors import NotificationError, SettingsError
from core.settings import NotifySettings
from monitoring.notify.message import Event, Message

if TYPE_CHECKING:
    from apprise import NotifyBase

_SECONDS: Final = 10.0
_MOST: Final = 20  # channels
_SHORTEST_SECRET: Final = 5  # parts of a URL that are shorter are words such as `api`
_PARTS: Final = re.compile(r"[:/@?&=,;\s]+")


class Channel(Protocol):
    """One way to people. `name` is the same at every start, and holds no secret."""

    name: str

    def send(self, message: Message) -> None:
        """Deliver it. Blocks; raises NotificationError where that cannot be done."""


class AppriseChannel:
    """A service behind one of Apprise's URLs."""

    def __init__(self, url: str, salt: str) -> None:
        """`salt` keeps a name from saying which URL it stands for. Raises SettingsError where the URL is none."""
        self._url = url
        self._service = _service(url)
        digest = blake2b(url.encode(), digest_size=6, key=salt.encode()[:64]).hexdigest()
        self.name = f"{str(self._service.service_name).lower().replace(' ', '_')[:40]}:{digest}"

    def send(self, message: Message) -> None:
        """Deliver it. Raises NotificationError."""
        from apprise import Apprise, LogCapture, NotifyFormat, NotifyType

        kinds = {"info": NotifyType.INFO, "warning": NotifyType.WARNING, "critical": NotifyType.FAILURE}
        kind = NotifyType.SUCCESS if message.event is Event.RESOLVED else kinds[message.alarm.severity.value]
        sender = Apprise(asset=self._service.asset)
        sender.add(self._service)
        with LogCapture(level=logging.WARNING) as captured:  # type: ignore[no-untyped-call]  # untyped in Apprise
            delivered = sender.notify(
                body=message.body,
                title=message.title,
                notify_type=kind,
                body_format=NotifyFormat.TEXT,
                timeout=_SECONDS,
            )
            said = captured.getvalue()
        if not delivered:
            raise NotificationError(f"it was refused, or nobody was there{self._without_secrets(said)}")

    def _without_secrets(self, said: str) -> str:
        """The last line of what Apprise logged, without anything of the URL."""
        lines = [line for line in said.splitlines() if line.strip()]
        if not lines:
            return ""
        last = lines[-1]
        for part in sorted(_PARTS.split(self._url), key=len, reverse=True):
            if len(part) >= _SHORTEST_SECRET:
                last = last.replace(part, "***")
        return f": {last[:200]}"


def _service(url: str) -> NotifyBase:
    from apprise import Apprise, AppriseAsset, PersistentStoreMode

    log = logging.getLogger("apprise")  # it may name URLs; what it says is taken from it by `send`
    log.propagate = False
    log.addHandler(logging.NullHandler())

    asset = AppriseAsset(
        app_id="Tutelage",
        app_desc="Tutelage",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        plugin_paths=[],
        storage_mode=PersistentStoreMode.MEMORY,
        secure_logging=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the plugins' own imports
        service = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        kind = url.partition("://")[0][:20] if "://" in url else "no scheme"
        raise SettingsError(
            f"one of the notification URLs ({kind}) is none that Apprise knows; they look like "
            "slack://token_a/token_b/token_c or mailto://user:password@example.org"
        )
    return service


def open_channels(notify: NotifySettings, salt: str, environment: Mapping[str, str] = os.environ) -> list[Channel]:
    """The channels that the settings name; none where they name none.

    `salt`: the ledger's id. Raises SettingsError where a variable or file is missing, or a URL is none.
    """
    urls = list(dict.fromkeys([*_from_environment(notify, environment), *_from_file(notify)]))
    if len(urls) > _MOST:
        raise SettingsError(f"there are {len(urls)} notification URLs; name {_MOST} at most")
    return [AppriseChannel(url, salt) for url in urls]


def _from_environment(notify: NotifySettings, environment: Mapping[str, str]) -> list[str]:
    name = notify.apprise_urls_env
    if name is None:
        return []
    value = environment.get(name)
    if not value:
        raise SettingsError(f"notify.apprise_urls_env names the environment variable {name}, which is not set; set it")
    return value.split()


def _from_file(notify: NotifySettings) -> list[str]:
    path = notify.apprise_urls_file
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(
            f"notify.apprise_urls_file {path} cannot be read ({error.strerror}); create it, one URL a line"
        ) from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
