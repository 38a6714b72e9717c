"""Settings: one `tutelage.yaml`, plus the environment (`TUTELAGE_GATEWAY__PORT=9000`), which wins.

An unknown key is an error that names the nearest valid one. Secrets never stand in the file: settings hold the *name*
of the environment variable that holds a key. Paths are relative to the file's folder.
"""

from core.settings.load import load_settings
from core.settings.root import Settings
from core.settings.sections import (
    ArchiveSettings,
    GatewaySettings,
    LedgerSettings,
    LogSettings,
    MonitorSettings,
    RedisSettings,
    RegistrySettings,
    RoleSettings,
    ShadowRoleSettings,
    StudentSettings,
    Timeouts,
)
from core.settings.task import (
    DataSettings,
    DistilSettings,
    LinearProbeSettings,
    PrivacySettings,
    RetrainSettings,
    ShadowSettings,
    TaskSettings,
    TeacherSettings,
    TemplateMessage,
    TemplateSettings,
    TrustSettings,
    WatchSettings,
)

__all__ = [
    "ArchiveSettings",
    "DataSettings",
    "DistilSettings",
    "GatewaySettings",
    "LedgerSettings",
    "LinearProbeSettings",
    "LogSettings",
    "MonitorSettings",
    "PrivacySettings",
    "RedisSettings",
    "RegistrySettings",
    "RetrainSettings",
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
    "TrustSettings",
    "WatchSettings",
    "load_settings",
]
