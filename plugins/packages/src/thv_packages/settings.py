"""The settings that the source and the builder of ``uvx`` share."""

from __future__ import annotations

from collections.abc import Mapping

from thv_core.errors import SettingsError
from thv_packages.interpreter import default_python

__all__ = ["chosen_python"]


def chosen_python(settings: Mapping[str, object]) -> str:
    """Return the interpreter for packages: the setting ``python``, an absolute path, or that of thv itself.

    :raises SettingsError: when a setting is unknown or not an absolute path.
    """
    for key in settings:
        if key != "python":
            raise SettingsError(f"{key} is not a setting of uvx", hint="It knows: python.")
    python = settings.get("python") or default_python()
    if not isinstance(python, str) or not python.startswith("/"):
        raise SettingsError(f"python is {python!r}, not an absolute path", hint="Write /usr/bin/python3, for example.")
    return python
