"""Settings: one `tutelage.yaml`, plus the environment (`TUTELAGE_GATEWAY__PORT=9000`), which wins.

An unknown key is an error that names the nearest valid one. Secrets never stand in the file: settings hold the *name*
of the environment variable that holds a key. Paths are relative to the file's folder.
"""

from core.settings.load import load_settings
from core.settings.root import Settings
from core.settings.sections import (
    ArchiveSettings,
    DataSettings,
    DistilSettings,
    GatewaySettings,
    LedgerSettings,
    LinearProbeSettings,
    LogSettings,
    PrivacySettings,
    RedisSettings,
    RegistrySettings,
    StudentSettings,
    TaskSettings,
    TeacherSettings,
    TemplateMessage,
    TemplateSettings,
    Timeouts,
    TrustSettings,
)

__all__ = [
    "ArchiveSettings",
    "DataSettings",
    "DistilSettings",
    "GatewaySettings",
    "LedgerSettings",
    "LinearProbeSettings",
    "LogSettings",
    "PrivacySettings",
    "RedisSettings",
    "RegistrySettings",
    "Settings",
    "StudentSettings",
    "TaskSettings",
    "TeacherSettings",
    "TemplateMessage",
    "TemplateSettings",
    "Timeouts",
    "TrustSettings",
    "load_settings",
]
