"""Settings: one `tutelage.yaml`, plus the environment (`TUTELAGE_GATEWAY__PORT=9000`), which wins.

An unknown key is an error that names the nearest valid one. Secrets never stand in the file: settings hold the *name*
of the environment variable that holds a key. Paths are relative to the file's folder.
"""

from core.settings.fallback import FallbackSettings
from core.settings.load import load_settings
from core.settings.passthrough import PassthroughSettings
from core.settings.privacy import PrivacySettings, RedactSettings
from core.settings.retrain import RetrainSettings
from core.settings.root import PASSTHROUGH, Settings
from core.settings.sections import (
    ArchiveSettings,
    BreakerSettings,
    GatewaySettings,
    LedgerSettings,
    LogSettings,
    MonitorSettings,
    NotifySettings,
    RedisSettings,
    RegistrySettings,
    RetrySettings,
    RoleSettings,
    ShadowRoleSettings,
    StudentSettings,
    Timeouts,
    TracingSettings,
)
from core.settings.task import (
    DataSettings,
    DistilSettings,
    LimitSettings,
    LinearProbeSettings,
    ShadowSettings,
    TaskSettings,
    TeacherSettings,
    TemplateMessage,
    TemplateSettings,
    TrustSettings,
)
from core.settings.watch import WatchSettings

__all__ = [
    "PASSTHROUGH",
    "ArchiveSettings",
    "BreakerSettings",
    "DataSettings",
    "DistilSettings",
    "FallbackSettings",
    "GatewaySettings",
    "LedgerSettings",
    "LimitSettings",
    "LinearProbeSettings",
    "LogSettings",
    "MonitorSettings",
    "NotifySettings",
    "PassthroughSettings",
    "PrivacySettings",
    "RedactSettings",
    "RedisSettings",
    "RegistrySettings",
    "RetrainSettings",
    "RetrySettings",
    "RoleSettings",
    "Settings",
    "ShadowRoleSettings",
    "ShadowSettings",
    "StudentSettings",
    "TaskSettings",
    "TeacherSettings",
    "TemplateMessage",
    "TemplateSettings",
    "Timeouts",
    "TracingSettings",
    "TrustSettings",
    "WatchSettings",
    "load_settings",
]
