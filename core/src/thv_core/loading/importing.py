"""Import exactly the entry point that the catalog approved, through stevedore."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import NoReturn

from stevedore.extension import ExtensionManager

from thv_core.loading.blame import broken
from thv_core.loading.catalog import Plugin
from thv_core.loading.kinds import KINDS

__all__ = ["load"]


def load(plugin: Plugin) -> object:
    """Import what a plugin's entry point names and return it.

    :raises PluginBroken: naming the distribution, with whatever the import raised chained.
    """
    try:
        # Not ``.driver``, which is the class when an instance is falsy, and no call through the manager, which
        # swallows exceptions.
        return _Approved(plugin).extensions[0].plugin
    except (Exception, SystemExit) as error:
        raise broken(plugin, "could not be imported", error) from error


class _Approved(ExtensionManager[object]):
    """A stevedore manager that sees one entry point: stevedore's own list knows no distribution and keeps a cache."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        super().__init__(KINDS[plugin.kind].group, on_load_failure_callback=_reraised)

    def list_entry_points(self) -> list[EntryPoint]:
        """Return the approved entry point alone."""
        return [EntryPoint(name=self._plugin.name, value=self._plugin.value, group=self.namespace)]


def _reraised(manager: ExtensionManager[object], entry_point: EntryPoint, error: BaseException) -> NoReturn:
    del manager, entry_point
    raise error
