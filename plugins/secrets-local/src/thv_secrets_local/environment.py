"""Secrets from environment variables, ``TOOLHIVE_SECRET_NAME``: read-only, for machines without a better store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from thv_core.errors import SecretNotFound, SettingsError
from thv_core.spi import SecretStore, Surroundings

__all__ = ["PREFIX", "EnvironmentStore"]

PREFIX = "TOOLHIVE_SECRET_"
"""The prefix of ToolHive; what follows is the name of the secret, exactly, in its own case."""


class EnvironmentStore(SecretStore):
    """Finds the secret ``github`` in the variable ``TOOLHIVE_SECRET_github``."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the store over the environment of its surroundings; it has no settings.

        :raises SettingsError: when there is any.
        """
        if settings:
            raise SettingsError(f"{min(settings)} is not a setting of the environment store", hint="It has none.")
        return cls(surroundings.environment)

    def get(self, name: str) -> str:
        """Return the value of ``TOOLHIVE_SECRET_<name>``; an empty variable is a secret, too."""
        try:
            return self._environment[PREFIX + name]
        except KeyError:
            raise SecretNotFound(
                f"there is no secret {name} in the environment",
                hint=f"Set {PREFIX}{name} where thv is started, or choose a store that can be written.",
            ) from None

    def names(self) -> list[str]:
        """Return what follows the prefix in the names of the variables, sorted."""
        return sorted(variable.removeprefix(PREFIX) for variable in self._environment if variable.startswith(PREFIX))
