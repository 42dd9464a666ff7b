"""Read values of a plugin's section of ``config.yaml``, and say what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from thv_core.errors import SettingsError
from thv_core.model.document import nearest
from thv_packages.reach import authority

__all__ = ["hosts", "known", "text", "words"]


def known(settings: Mapping[str, object], keys: Sequence[str], plugin: str) -> None:
    """Check that every setting is one of ``keys``.

    :raises SettingsError: naming the first that is not.
    """
    for key in settings:
        if key not in keys:
            meant = nearest(key, list(keys))
            hint = f"Did you mean {meant}?" if meant else f"It knows: {', '.join(keys)}."
            raise SettingsError(f"{key} is not a setting of {plugin}", hint=hint)


def text(settings: Mapping[str, object], key: str) -> str:
    """Return a text, empty when it is not set.

    :raises SettingsError: when it is another thing.
    """
    value = settings.get(key) or ""
    if not isinstance(value, str):
        raise SettingsError(f"{key} is {value!r}, not a text", hint="Write it in quotes.")
    return value


def hosts(settings: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Return a list of hosts, each with or without a port.

    :raises SettingsError: when it is another thing.
    """
    listed = words(settings, key)
    for each in listed:
        if not authority(f"https://{each}") or set(each) & set("/?#@\\"):
            raise SettingsError(f"{key} holds {each!r}, not a host", hint="Write files.example.com or HOST:PORT.")
    return listed


def words(settings: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Return a list of words, which may be written as one text with spaces.

    :raises SettingsError: when it is another thing.
    """
    value = settings.get(key) or ()
    if isinstance(value, str):
        return tuple(value.split())
    listed = cast("Sequence[object]", value if isinstance(value, (list, tuple)) else (None,))
    if not all(isinstance(each, str) for each in listed):
        raise SettingsError(f"{key} is {value!r}, not a list of texts", hint="Write it as a list.")
    return tuple(cast("Sequence[str]", listed))
