"""The hook bus: asks every approved ``thv.hooks`` plugin for its contributions, one plugin at a time, with pluggy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import pluggy

from thv_core.errors import PluginBroken
from thv_core.loading.blame import described
from thv_core.loading.catalog import Catalog, Plugin
from thv_core.loading.importing import load
from thv_core.spi.drivers import Surroundings
from thv_core.spi.hooks import PROJECT, Hooks
from thv_core.spi.middleware import MiddlewareRecipe, Stage
from thv_core.spi.observers import WorkloadObserver

__all__ = ["HookBus"]


class _Member(NamedTuple):
    """A registered plugin and the object that holds its hooks."""

    plugin: Plugin
    module: object


class HookBus:
    """Collects what hooks contribute; each hook has one typed method here, and nobody else calls pluggy.

    A plugin that fails in any way is left out. ``failures`` maps ``DISTRIBUTION/NAME`` to the reason; whoever needs
    something that is missing asks there whom to blame.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.failures: dict[str, str] = {}
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(Hooks)
        self._hooks = sorted(name for name in vars(Hooks) if name.startswith(f"{PROJECT}_"))
        self._members = [member for plugin in catalog.ready("hooks") for member in self._admitted(plugin)]

    def observers(self, surroundings: Callable[[str], Surroundings]) -> list[tuple[str, WorkloadObserver]]:
        """Return the observers with the name of the plugin of each.

        :param surroundings: returns what a plugin of that name may know of the machine.
        """
        found: list[tuple[str, WorkloadObserver]] = []
        for member in self._members:
            offered = self._asked(
                member, "thv_observers", lambda name: {"surroundings": surroundings(name)}, _observer_flaw
            )
            found.extend((member.plugin.name, cast("WorkloadObserver", each)) for each in offered)
        return found

    def middleware(self) -> dict[str, MiddlewareRecipe]:
        """Return the recipes by name; a name that two recipes claim is refused to both."""
        offers: dict[str, list[tuple[Plugin, MiddlewareRecipe]]] = {}
        for member in self._members:
            for each in self._asked(member, "thv_middleware", lambda _: {}, _recipe_flaw):
                recipe = cast("MiddlewareRecipe", each)
                offers.setdefault(recipe.name, []).append((member.plugin, recipe))
        for name, rivals in offers.items():
            if len(rivals) > 1:
                self._refuse(name, [plugin for plugin, _ in rivals])
        return {name: rivals[0][1] for name, rivals in offers.items() if len(rivals) == 1}

    def describe(self) -> dict[str, list[str]]:
        """Return each hook with the plugins that implement it, as ``DISTRIBUTION/NAME``."""
        return {
            hook: [each.plugin.label for each in self._members if self._implements(each, hook)] for hook in self._hooks
        }

    def _admitted(self, plugin: Plugin) -> Iterable[_Member]:
        """Return the plugin as a member, or nothing when it failed."""
        try:
            module = load(plugin)
        except PluginBroken as error:
            self.failures[plugin.label] = ": ".join([error.message, *error.evidence])
            return []
        try:
            self._register(plugin, module)
        except Exception as error:
            self.failures[plugin.label] = described(error)
            if self._pluggy.has_plugin(plugin.label):
                self._pluggy.unregister(name=plugin.label)
            return []
        return [_Member(plugin, module)]

    def _register(self, plugin: Plugin, module: object) -> None:
        if isinstance(module, type):
            raise TypeError(f"{module.__name__} is a class; name a module or an instance")
        self._pluggy.register(module, name=plugin.label)
        self._pluggy.check_pending()
        for caller in self._pluggy.get_hookcallers(module) or ():
            for implementation in caller.get_hookimpls():
                if implementation.plugin is module and _is_async(implementation.function):
                    raise TypeError(f"{caller.name} is async; a hook returns objects, and those may be async")

    def _asked(
        self,
        member: _Member,
        hook: str,
        arguments: Callable[[str], dict[str, object]],
        flaw: Callable[[object], str],
    ) -> list[object]:
        """Call one hook of one plugin; with several at once, the first that raises would silence the rest."""
        others = [each.module for each in self._members if each is not member]
        try:
            caller = self._pluggy.subset_hook_caller(hook, others)
            results: list[object] = caller(**arguments(member.plugin.name))
            offered = [each for result in results for each in _unpacked(result)]
            reasons = [reason for each in offered if (reason := flaw(each))]
        except (Exception, SystemExit) as error:
            reasons, offered = [described(error)], []
        if reasons:
            self.failures[member.plugin.label] = f"{hook}: {reasons[0]}"
            return []
        return offered

    def _refuse(self, name: str, plugins: list[Plugin]) -> None:
        owners = " and ".join(sorted(plugin.origin for plugin in plugins))
        for plugin in plugins:
            self.failures[plugin.label] = f"thv_middleware: the middleware {name!r} is offered twice, by {owners}"

    def _implements(self, member: _Member, hook: str) -> bool:
        callers = self._pluggy.get_hookcallers(member.module) or ()
        return any(caller.name == hook for caller in callers)


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _unpacked(result: object) -> list[object]:
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("it returned a coroutine, not a sequence")
    return list(cast("Iterable[object]", result))


def _observer_flaw(offered: object) -> str:
    method = getattr(offered, "on_workload", None)
    if not callable(method):
        return f"{type(offered).__name__} is not a WorkloadObserver: it has no on_workload"
    return f"on_workload of {type(offered).__name__} is async" if _is_async(method) else ""


def _recipe_flaw(offered: object) -> str:
    if not isinstance(offered, MiddlewareRecipe):
        return f"{type(offered).__name__} is not a MiddlewareRecipe"
    if not isinstance(cast("object", offered.stage), Stage):
        return f"the stage of {offered.name!r} is not a Stage"
    return "" if callable(offered.build) else f"the build of {offered.name!r} cannot be called"
