"""Which settings file a command means."""

from __future__ import annotations

from pathlib import Path

from core.errors import SettingsError

DEFAULT = Path("tutelage.yaml")

_EXAMPLE = Path("support_desk") / "tutelage.yaml"


def example_config() -> Path:
    """The bundled example's settings, in a checkout or in a wheel. Raises SettingsError where it is absent."""
    here = Path(__file__).resolve().parent
    for folder in (here.parent / "examples", here / "_examples"):
        if (folder / _EXAMPLE).is_file():
            return folder / _EXAMPLE
    raise SettingsError("the bundled example is missing from this installation; name a settings file with --config")


def find_config(named: Path | None) -> Path:
    """The file that was named, else `tutelage.yaml` in the working folder, else the bundled example's."""
    if named is not None:
        return named
    return DEFAULT if DEFAULT.is_file() else example_config()
