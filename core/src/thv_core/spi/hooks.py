"""The hooks of pluggy: each is called once, when a process starts, and returns objects that are used afterwards.

A plugin module is an entry point of group ``thv.hooks``; its functions are marked with :data:`hookimpl`. A hook that
raises is left out and named in ``thv plugins check``; a workload that needs what it would have given does not start.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from thv_core.spi.drivers import Surroundings
from thv_core.spi.middleware import MiddlewareRecipe
from thv_core.spi.observers import WorkloadObserver

__all__ = ["PROJECT", "Hooks", "hookimpl"]

PROJECT = "thv"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hook specifications."""

    @hookspec
    def thv_observers(self, surroundings: Surroundings) -> Sequence[WorkloadObserver]:
        """Return observers of workloads. Called in control; one that fails is left out."""
        raise NotImplementedError

    @hookspec
    def thv_middleware(self) -> Sequence[MiddlewareRecipe]:
        """Return recipes of middleware. Called in control, to check names, and in the gateway, to build."""
        raise NotImplementedError
