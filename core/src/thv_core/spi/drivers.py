"""Drivers: what every plugin that is chosen by name has in common."""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from thv_core.errors import SecretNotFound, SettingsError

__all__ = ["Driver", "Surroundings"]


def _no_secret(name: str) -> str:
    """Refuse, for surroundings without a secret store."""
    raise SecretNotFound(f"secret {name} is not set, and no secret store is at hand")


@dataclass(frozen=True)
class Surroundings:
    """What a driver may know of the machine: the environment and directories of its own, handed over, never looked up.

    ``state`` survives reboots, ``cache`` may be deleted at any time; both are mode 0700 and exist. ``forbidden`` are
    the directories of thv itself, which no server may be granted, nor what contains them or lies in them. ``secret``
    returns the value of a secret of the chosen store by its name, or raises ``SecretNotFound`` or
    ``SecretStoreFailed``: ask when it is needed, and keep the value nowhere.
    """

    state: Path
    cache: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    forbidden: tuple[Path, ...] = ()
    secret: Callable[[str], str] = field(default=_no_secret, repr=False)


class Driver(ABC):  # noqa: B024 - each contract adds its own abstract methods
    """A plugin that is chosen by name and constructed once per process."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the driver from its section of ``config.yaml``.

        The default passes each setting to the constructor's keyword of that name.

        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        del surroundings
        known = [
            name for name, each in inspect.signature(cls).parameters.items() if each.kind is not each.VAR_POSITIONAL
        ]
        for key in settings:
            if key not in known:
                raise SettingsError(
                    f"{key} is not a setting of {cls.__name__}", hint=f"It knows: {', '.join(known) or 'none'}."
                )
        try:
            inspect.signature(cls).bind(**settings)
        except TypeError as error:
            raise SettingsError(f"the settings of {cls.__name__} do not suffice: {error}") from error
        try:
            return cls(**settings)
        except ValueError as error:
            raise SettingsError(f"the settings of {cls.__name__} are not usable: {error}") from error
