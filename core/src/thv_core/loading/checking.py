"""Check what the catalog cannot see: import every plugin, compare it with its contract, and construct it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import zip_longest
from typing import NamedTuple, cast

from thv_core.errors import ThvError
from thv_core.loading.catalog import Catalog, Plugin, PluginStatus
from thv_core.loading.drivers import Drivers, driver_class
from thv_core.loading.hooks import HookBus
from thv_core.loading.importing import load
from thv_core.loading.kinds import KINDS
from thv_core.spi.drivers import Driver
from thv_core.spi.runtimes import Runtime

__all__ = ["Choice", "Finding", "Severity", "check"]


class Severity(StrEnum):
    """A ``problem`` keeps a plugin from working; a ``note`` is advice to its author."""

    PROBLEM = "problem"
    NOTE = "note"


class Finding(NamedTuple):
    """One thing that is wrong, or could be better, with one plugin."""

    plugin: Plugin
    severity: Severity
    text: str


class Choice(NamedTuple):
    """A plugin that a setting chooses by name; ``default`` tells whether it is chosen because nothing was set."""

    setting: str
    kind: str
    name: str
    default: bool


def check(catalog: Catalog, drivers: Drivers, choices: Iterable[Choice] = ()) -> list[Finding]:
    """Import, compare and construct every plugin, and list what is wrong; an empty list is good news.

    It never raises for a plugin, however broken it is.

    :param choices: the plugins that the settings choose: each must be there and may not be refused.
    """
    findings = [finding for plugin in catalog.plugins for finding in _checked(plugin, drivers)]
    return [*findings, *_hook_findings(catalog, drivers), *_choice_findings(catalog, choices)]


def _checked(plugin: Plugin, drivers: Drivers) -> Iterator[Finding]:
    if plugin.status is not PluginStatus.READY:
        severity = Severity.NOTE if plugin.status is PluginStatus.DISABLED else Severity.PROBLEM
        yield Finding(plugin, severity, f"{plugin.status}: {plugin.reason}")
        return
    if plugin.reason:
        yield Finding(plugin, Severity.NOTE, plugin.reason)
    problems = list(_problems(plugin, drivers))
    yield from (Finding(plugin, Severity.PROBLEM, problem) for problem in problems)
    if plugin.kind == "runtime" and not problems:
        yield from _probed(plugin, drivers)


def _probed(plugin: Plugin, drivers: Drivers) -> Iterator[Finding]:
    probe = drivers.get(Runtime, plugin.name).probe()
    if not probe.ready:
        yield Finding(plugin, Severity.NOTE, f"it cannot isolate servers here: {probe.detail}")


def _problems(plugin: Plugin, drivers: Drivers) -> Iterator[str]:
    if plugin.kind == "hooks":
        return
    try:
        contract = KINDS[plugin.kind].contract_class()
        if KINDS[plugin.kind].driver:
            yield from _driver_problems(plugin, contract, drivers)
        elif not isinstance(load(plugin), contract):
            yield f"it is not a {contract.__name__}"
    except ThvError as error:
        yield ": ".join([error.message, *error.evidence])
    except ImportError as error:
        yield f"its contract cannot be imported: {error}"


def _driver_problems(plugin: Plugin, contract: type[Driver], drivers: Drivers) -> Iterator[str]:
    yield from _signature_problems(driver_class(plugin, contract), contract)
    drivers.get(contract, plugin.name)


def _hook_findings(catalog: Catalog, drivers: Drivers) -> Iterator[Finding]:
    bus = HookBus(catalog)
    bus.observers(drivers.surroundings)
    bus.middleware()
    for plugin in catalog.ready("hooks"):
        if plugin.label in bus.failures:
            yield Finding(plugin, Severity.PROBLEM, bus.failures[plugin.label])


def _choice_findings(catalog: Catalog, choices: Iterable[Choice]) -> Iterator[Finding]:
    for choice in choices:
        try:
            catalog.find(choice.kind, choice.name)
        except ThvError as error:
            remedy = error.hint if choice.default else f"thv config unset {choice.setting}"
            yield Finding(
                _chosen(catalog, choice), Severity.PROBLEM, f"{choice.setting} chooses it: {error.message}: {remedy}"
            )


def _chosen(catalog: Catalog, choice: Choice) -> Plugin:
    refused = [plugin for plugin in catalog.of_kind(choice.kind) if plugin.name == choice.name]
    absent = Plugin(choice.kind, choice.name, "", "", "", PluginStatus.MALFORMED, "it is not installed")
    return next(iter(refused), absent)


def _signature_problems(found: type, contract: type) -> Iterator[str]:
    for name, promised in _methods(contract):
        given = getattr(found, name)
        if not callable(given):
            yield f"{name} is not a method"
        elif inspect.iscoroutinefunction(given) is not inspect.iscoroutinefunction(promised):
            yield f"{name} is {'' if inspect.iscoroutinefunction(given) else 'not '}async, unlike its contract"
        else:
            yield from (f"{name}: {problem}" for problem in _differences(given, promised))


def _methods(contract: type) -> Iterator[tuple[str, Callable[..., object]]]:
    for name in dir(contract):
        promised = getattr(contract, name)
        if not name.startswith("_") and inspect.isroutine(promised):
            yield name, cast("Callable[..., object]", promised)


def _differences(given: Callable[..., object], promised: Callable[..., object]) -> Iterator[str]:
    """Say why a call that suits the contract would not suit the plugin; more parameters with defaults are welcome."""
    given_signature, promised_signature = inspect.signature(given), inspect.signature(promised)
    yield from _untaken(given_signature, promised_signature)
    yield from _demanded(given_signature, promised_signature)


def _untaken(given: inspect.Signature, promised: inspect.Signature) -> Iterator[str]:
    anything = {each.kind for each in given.parameters.values()}
    positional, keywords = _split(promised)
    own, _ = _split(given)
    for wanted, offered in zip_longest(positional, own[: len(positional)]):
        if offered is not None and offered != wanted:
            yield f"it calls {offered} what the contract calls {wanted}"
        elif offered is None and inspect.Parameter.VAR_POSITIONAL not in anything:
            yield f"it does not take {wanted}"
    if inspect.Parameter.VAR_KEYWORD not in anything:
        yield from (f"it does not take {wanted}" for wanted in keywords if wanted not in given.parameters)


def _demanded(given: inspect.Signature, promised: inspect.Signature) -> Iterator[str]:
    positional, _ = _split(promised)
    own, own_keywords = _split(given)
    # A parameter in the place of a promised one was judged by its name.
    required = [name for name in (*own, *own_keywords) if given.parameters[name].default is inspect.Parameter.empty]
    for name in required:
        if name not in promised.parameters:
            if name not in own[: len(positional)]:
                yield f"it requires {name}, which the contract does not have"
        elif promised.parameters[name].default is not inspect.Parameter.empty:
            yield f"it requires {name}, which the contract does not"


def _split(signature: inspect.Signature) -> tuple[list[str], list[str]]:
    kinds = inspect.Parameter
    positional = [
        name
        for name, each in signature.parameters.items()
        if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    return positional, [name for name, each in signature.parameters.items() if each.kind is kinds.KEYWORD_ONLY]
