"""Which Node packages run with: the one of the settings, else that of the system, else one that is fetched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from thv_core.errors import PreparationFailed
from thv_core.spi import Surroundings
from thv_packages.disk import read_bounded, write_whole
from thv_packages.npm.node import Node, default_registry, identity, inspect, on_path
from thv_packages.npm.node_wheel import NodeWheel
from thv_packages.npm.registries import Registries, registries
from thv_packages.npm.settings import NpxSettings
from thv_packages.reach import authority

__all__ = ["Nodes"]

_LONGEST_URL = 2000


def _unheard() -> None:
    """Tell nobody that something is fetched."""


class Nodes:
    """The Nodes of this machine, and the registries that their npm asks."""

    def __init__(self, surroundings: Surroundings, settings: NpxSettings) -> None:
        self._settings = settings
        self._cache = surroundings.cache
        self._environment = surroundings.environment
        self._wheel = NodeWheel(surroundings.cache, surroundings.environment)

    def here(self) -> Iterator[str]:
        """Yield the path of every Node that could be chosen now, without starting any."""
        if self._settings.node:
            yield self._settings.node
            return
        yield from on_path(self._environment.get("PATH", ""))
        if fetched := self._wheel.path():
            yield fetched

    def choose(self, fetching: Callable[[], None] = _unheard) -> tuple[str, Node]:
        """Return the Node to use, by the path that was chosen and as what it is.

        :param fetching: is called before one is fetched, because there is none here that is usable.
        :raises PreparationFailed: when the one of the settings is not usable, or none can be had.
        """
        if self._settings.node:
            return self._settings.node, inspect(self._settings.node)
        for each in on_path(self._environment.get("PATH", "")):
            with contextlib.suppress(PreparationFailed):
                return each, inspect(each)
        if not self._wheel.path():
            fetching()
        fetched = self._wheel.fetch()
        return fetched, inspect(fetched)

    def registries(self) -> Registries:
        """Return the registries to ask.

        :raises PreparationFailed: when nobody names one, npm least of all.
        """
        return registries(self._settings, self._environment, self._default_registry)

    def _default_registry(self) -> str:
        """Return what npm answered, asking it once for each Node: it takes as long as all the rest of resolving."""
        known = (_first_line(self._answered(node)) for node in self.here())
        if url := next(filter(authority, known), ""):
            return url
        chosen, node = self.choose()
        url = default_registry(node)
        write_whole(self._answered(chosen), url.encode())
        return url

    def _answered(self, node: str) -> Path:
        return self._cache / f"default-registry_{identity(node)}"


def _first_line(path: Path) -> str:
    with contextlib.suppress(OSError):
        return read_bounded(path, _LONGEST_URL).decode("utf-8", "replace").strip()
    return ""
