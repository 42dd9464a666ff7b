"""The kinds of plugins: the word for each, its entry-point group and its contract."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["GROUP_PREFIX", "KINDS", "PluginKind", "kind_of_contract"]

GROUP_PREFIX = "thv."


class PluginKind(NamedTuple):
    """One kind of plugin.

    ``contract`` is ``module:Class``, resolved only when a plugin of the kind is loaded; it is empty for hooks, whose
    contract is the hook specification. ``driver`` tells whether its plugins are constructed from settings.
    """

    word: str
    group: str
    contract: str = ""
    driver: bool = True

    def contract_class(self) -> type:
        """Import and return the class that plugins of this kind must subclass, or be an instance of.

        :raises ImportError: when the module of the contract is not installed.
        """
        import importlib  # only a process that loads plugins needs it

        module, _, name = self.contract.partition(":")
        contract: type = getattr(importlib.import_module(module), name)
        return contract


KINDS = {
    kind.word: kind
    for kind in (
        PluginKind("runtime", "thv.runtimes", "thv_core.spi.runtimes:Runtime"),
        PluginKind("source", "thv.sources", "thv_core.spi.sources:ServerSource"),
        PluginKind("builder", "thv.builders", "thv_core.spi.sources:Builder"),
        PluginKind("secrets", "thv.secrets", "thv_core.spi.secrets:SecretStore"),
        PluginKind("egress", "thv.egress", "thv_core.spi.egress:Egress"),
        PluginKind("gateway", "thv.gateways", "thv_core.spi.gateways:Gateway"),
        PluginKind("command", "thv.commands", "click:Command", driver=False),
        PluginKind("hooks", "thv.hooks", driver=False),
    )
}
"""Every kind by its word."""


def kind_of_contract(contract: type) -> PluginKind:
    """Return the kind whose drivers implement ``contract``.

    :raises LookupError: when it is the contract of no kind.
    """
    wanted = f"{contract.__module__}:{contract.__qualname__}"
    for kind in KINDS.values():
        if kind.contract == wanted:
            return kind
    raise LookupError(f"{wanted} is not the contract of a kind of plugin")
