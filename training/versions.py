"""Which programs made a student: a part of what is needed to make it again."""

from __future__ import annotations

import platform
from importlib import metadata

_PROGRAMS = ("tutelage", "torch", "transformers", "tokenizers", "numpy")


def program_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a student's weights depend on."""
    versions = {"python": platform.python_version()}
    for name in _PROGRAMS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # run from a checkout that was not installed
    return versions
