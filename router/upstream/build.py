"""Upstreams as the settings describe them."""

from __future__ import annotations

from core.settings import PassthroughSettings, StudentSettings, TeacherSettings
from router.upstream.upstream import Upstream


def student_upstream(settings: StudentSettings, name: str = "the student") -> Upstream:
    """The student, with its replicas. Its paths begin with /v1. Raises SettingsError for an unusable address."""
    return Upstream(
        name,
        settings.base_urls,
        settings.timeouts,
        breaker=settings.breaker,
        retry=settings.retry,
        probe_path=b"/v1/models",
        replicas_refuse_alone=True,
    )


def teacher_upstream(settings: TeacherSettings) -> Upstream:
    """A teacher, with its replicas. Its base URL ends in /v1, so its paths begin after that, as in /chat/completions.

    Raises SettingsError for an unusable address.
    """
    return _provider("the teacher", settings)


def passthrough_upstream(settings: PassthroughSettings) -> Upstream:
    """The default upstream, with its replicas. Its paths begin after /v1.

    Raises SettingsError for an unusable address.
    """
    return _provider("the default upstream", settings)


def _provider(name: str, settings: TeacherSettings | PassthroughSettings) -> Upstream:
    return Upstream(
        name,
        [settings.base_url, *settings.replicas],
        settings.timeouts,
        breaker=settings.breaker,
        retry=settings.retry,
        api_key_env=settings.api_key_env,
        probe_path=b"/models",
    )
