"""The catalog: every plugin that is installed and whether it may be loaded, from metadata alone.

It imports no plugin, and at module level only the standard library, because every command needs it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import thv_core
from thv_core.errors import PluginNotFound, PluginRefused
from thv_core.loading.compatibility import judged
from thv_core.loading.first_party import advice
from thv_core.loading.footprint import footprint
from thv_core.loading.kinds import KINDS
from thv_core.loading.metadata import Installed, Offer, described, installed, normalised

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["Catalog", "Plugin", "PluginStatus", "scan"]

_KIND_OF_GROUP = {kind.group: kind.word for kind in KINDS.values()}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_OBJECT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*\Z")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")


class PluginStatus(StrEnum):
    """Whether a plugin may be loaded: only ``ready`` is."""

    READY = "ready"
    DISABLED = "disabled"
    CONFLICT = "conflict"
    INCOMPATIBLE = "incompatible"
    MALFORMED = "malformed"


class Plugin(NamedTuple):
    """One entry point and what was decided about it; ``reason`` is for people, and may be a note when it is ready."""

    kind: str
    name: str
    distribution: str
    version: str
    value: str
    status: PluginStatus
    reason: str = ""

    @property
    def origin(self) -> str:
        """The distribution and its version, as messages name it."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def label(self) -> str:
        """``DISTRIBUTION/NAME``, unique among the hooks that are ready."""
        return f"{self.distribution}/{self.name}"


class Catalog:
    """What is installed, as it was when it was scanned."""

    def __init__(self, plugins: Iterable[Plugin], facts: Iterable[str] = ()) -> None:
        self.plugins = tuple(sorted(plugins))
        self._facts = tuple(sorted(facts))

    @property
    def fingerprint(self) -> str:
        """A digest that changes when a distribution with plugins, or the core, is installed, upgraded or edited."""
        import hashlib  # costs a few milliseconds that not every command spends

        return hashlib.sha256("\n".join(self._facts).encode()).hexdigest()

    def of_kind(self, kind: str) -> tuple[Plugin, ...]:
        """Return every plugin of a kind, whatever its status."""
        return tuple(plugin for plugin in self.plugins if plugin.kind == kind)

    def ready(self, kind: str) -> tuple[Plugin, ...]:
        """Return the plugins of a kind that may be loaded; each name occurs once."""
        return tuple(plugin for plugin in self.of_kind(kind) if plugin.status is PluginStatus.READY)

    def find(self, kind: str, name: str) -> Plugin:
        """Return the plugin of a kind and name that may be loaded.

        :raises PluginNotFound: naming what is installed, the nearest name and what to install.
        :raises PluginRefused: naming the distributions that offer it and why none is taken.
        """
        offered = [plugin for plugin in self.of_kind(kind) if plugin.name == name]
        for plugin in offered:
            if plugin.status is PluginStatus.READY:
                return plugin
        raise _refused(offered) if offered else self._not_found(kind, name)

    def _not_found(self, kind: str, name: str) -> PluginNotFound:
        import difflib  # only when something is already wrong

        names = [plugin.name for plugin in self.ready(kind)]
        near = "".join(f"Did you mean {each}?" for each in difflib.get_close_matches(name, names, n=1))
        return PluginNotFound(
            f"no installed plugin offers the {kind} {name!r}",
            evidence=[f"installed: {', '.join(names) or 'none'}"],
            hint=advice(kind, name) or near or "thv plugins list shows what is installed.",
        )


def scan(disabled: Collection[str] = (), distributions: Iterable[Distribution] | None = None) -> Catalog:
    """List every plugin from the metadata of the installed distributions, importing none of them.

    :param disabled: entry-point names, ``kind:name`` or names of distributions.
    :param distributions: those to look at, by default every one on ``sys.path``.
    """
    found = list(installed() if distributions is None else described(distributions))
    plugins = [_judged(offer, each, disabled) for each in found for offer in each.offers if _known(offer)]
    return Catalog(_conflicts_marked(plugins), (fact for each in found for fact in footprint(each)))


def _known(offer: Offer) -> bool:
    return offer.group in _KIND_OF_GROUP


def _judged(offer: Offer, origin: Installed, disabled: Collection[str]) -> Plugin:
    kind = _KIND_OF_GROUP[offer.group]
    status, reason = _decision(kind, offer, origin, disabled)
    return Plugin(
        kind=kind,
        name=offer.name,
        distribution=origin.name or origin.key,
        version=origin.version,
        value=offer.value,
        status=status,
        reason=reason,
    )


def _decision(kind: str, offer: Offer, origin: Installed, disabled: Collection[str]) -> tuple[PluginStatus, str]:
    if _is_disabled(kind, offer.name, origin, disabled):
        return PluginStatus.DISABLED, "it is listed in disabled"
    flaw = _flaw(kind, offer, origin)
    if flaw:
        return PluginStatus.MALFORMED, flaw
    compatible, reason = judged(origin.requires, thv_core.__version__)
    return PluginStatus.READY if compatible else PluginStatus.INCOMPATIBLE, reason


def _is_disabled(kind: str, name: str, origin: Installed, disabled: Collection[str]) -> bool:
    distribution = normalised(origin.name) or origin.key
    return any(word in (name, f"{kind}:{name}") or normalised(word) == distribution for word in disabled)


def _flaw(kind: str, offer: Offer, origin: Installed) -> str:
    if not origin.name:
        return "its metadata has no name"
    if not _NAME.match(offer.name):
        return f"{offer.name!r} cannot name a plugin"
    if _OBJECT.match(offer.value) or (kind == "hooks" and _MODULE.match(offer.value)):
        return ""
    return f"its entry point {offer.value!r} is not module:attribute"


def _conflicts_marked(plugins: Iterable[Plugin]) -> Iterator[Plugin]:
    rivals: dict[tuple[str, str], list[Plugin]] = {}
    for plugin in plugins:
        if plugin.status is PluginStatus.READY:
            rivals.setdefault((plugin.kind, plugin.name), []).append(plugin)
        else:
            yield plugin
    for group in rivals.values():
        if len(group) == 1:
            yield group[0]
            continue
        reason = f"it is offered by {_listed(group)}"
        yield from (plugin._replace(status=PluginStatus.CONFLICT, reason=reason) for plugin in group)


def _listed(plugins: Iterable[Plugin]) -> str:
    return " and ".join(sorted(plugin.origin for plugin in plugins))


def _refused(offered: list[Plugin]) -> PluginRefused:
    conflicting = [plugin for plugin in offered if plugin.status is PluginStatus.CONFLICT]
    if conflicting:
        first = conflicting[0]
        return PluginRefused(
            f"the {first.kind} {first.name!r} is offered by more than one distribution: {_listed(conflicting)}",
            evidence=["none of them was imported"],
            hint="Uninstall one, or add the name of one distribution to disabled in config.yaml.",
        )
    reasons = [f"{plugin.origin} is {plugin.status}: {plugin.reason}" for plugin in offered]
    first = offered[0]
    return PluginRefused(
        f"the {first.kind} {first.name!r} of {_listed(offered)} is refused",
        evidence=[*reasons, "it was not imported"],
        hint=_REMEDIES[first.status],
    )


_REMEDIES = {
    PluginStatus.DISABLED: "Enable it: remove it from disabled in config.yaml.",
    PluginStatus.INCOMPATIBLE: "Install versions of thv-core and of this distribution that fit each other.",
    PluginStatus.MALFORMED: "Reinstall the distribution, or tell its author.",
}
