"""Drivers: plugins that are chosen by name, loaded and constructed once per process."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from thv_core.errors import SettingsError
from thv_core.loading.blame import broken
from thv_core.loading.catalog import Catalog, Plugin
from thv_core.loading.importing import load
from thv_core.loading.kinds import kind_of_contract
from thv_core.spi.drivers import Driver, Surroundings

__all__ = ["Drivers", "driver_class"]

D = TypeVar("D", bound=Driver)


class Drivers:
    """Hands out drivers by contract and name.

    Safe to use from any thread: a driver is constructed once, and a slow one delays only those who ask for it.
    A failure is not remembered, because its cause may be gone when a workload is tried again.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: Mapping[str, Mapping[str, object]],
        surroundings: Callable[[str], Surroundings],
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._ready: dict[tuple[str, str], Driver] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self.surroundings = surroundings

    def get(self, contract: type[D], name: str) -> D:
        """Return the driver of a contract and name.

        :raises PluginNotFound: when no installed distribution offers it.
        :raises PluginRefused: when the catalog refuses it.
        :raises PluginBroken: when it cannot be imported or constructed, or does not fulfil the contract.
        :raises SettingsError: when its section of ``config.yaml`` is wrong; the message begins with the key path.
        """
        key = (kind_of_contract(contract).word, name)
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._ready:
                self._ready[key] = self._constructed(self._catalog.find(*key), contract)
            return cast("D", self._ready[key])

    def names(self, contract: type[Driver]) -> tuple[str, ...]:
        """Return the names of the drivers of a contract that may be loaded, sorted."""
        return tuple(plugin.name for plugin in self._catalog.ready(kind_of_contract(contract).word))

    def _constructed(self, plugin: Plugin, contract: type[D]) -> D:
        chosen = driver_class(plugin, contract)
        settings = self._settings.get(plugin.name, {})
        try:
            driver: object = chosen.from_settings(settings, self.surroundings(plugin.name))
        except SettingsError as error:
            raise _located(error, plugin, settings) from error
        except (Exception, SystemExit) as error:
            raise broken(plugin, "could not be constructed", error) from error
        if not isinstance(driver, contract):
            raise broken(plugin, f"constructed a {type(driver).__name__}, which is not a {contract.__name__}")
        return driver


def driver_class(plugin: Plugin, contract: type[D]) -> type[D]:
    """Import a plugin and return its class, which fulfils the contract.

    :raises PluginBroken: when it cannot be imported, is no subclass of the contract, or lacks a required method.
    """
    found = load(plugin)
    if not isinstance(found, type):
        raise broken(plugin, f"is of type {type(found).__name__}, not a class that is a {contract.__name__}")
    if not issubclass(found, contract):
        raise broken(plugin, f"is {found.__name__}, which is not a {contract.__name__}")
    missing = sorted(found.__abstractmethods__)
    if inspect.isabstract(found):
        raise broken(plugin, f"is not a whole {contract.__name__}: it lacks {', '.join(missing)}")
    return found


def _located(error: SettingsError, plugin: Plugin, settings: Mapping[str, object]) -> SettingsError:
    first, _, _ = error.message.partition(" ")
    key = first.rstrip(":,").partition(".")[0]
    joint = "." if key in settings else ": "
    message = f"plugins.{plugin.name}{joint}{error.message}"
    return SettingsError(message, evidence=error.evidence, hint=error.hint)
