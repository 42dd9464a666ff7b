"""``thv plugins``: what is installed, whether it works, and what it contributes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING

import click

from thv_cli.installation import CHOICES, configuration_file, installed_plugins
from thv_core.state.settings_keys import Configuration

if TYPE_CHECKING:
    from thv_core.kernel import Kernel
    from thv_core.loading.catalog import Plugin
    from thv_core.loading.checking import Finding
    from thv_core.spi.console import Console

__all__ = ["plugins"]

_FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to show it.")


@click.group()
def plugins() -> None:
    """See which plugins are installed and whether they work."""


@plugins.command("list")
@_FORMAT
@click.pass_obj
def list_plugins(console: Console, form: str) -> None:
    """List every installed plugin.

    The list is made from metadata alone: no plugin is imported.
    """
    found = installed_plugins(console.environment).plugins
    chosen = _chosen(console.environment)
    if form == "json":
        console.document([_described(plugin, chosen) for plugin in found])
        return
    columns = ("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATUS", "CHOSEN")
    console.table(columns, [_row(plugin, chosen) for plugin in found])


@plugins.command()
@_FORMAT
@click.pass_context
def check(context: click.Context, form: str) -> None:
    """Import every plugin and list what is wrong.

    Each is compared with its contract and constructed from its settings. The exit code is 1 if something is broken.
    """
    from thv_core.loading.checking import Choice, Severity, check  # imports every plugin's contract

    console: Console = context.obj
    kernel = _kernel(console.environment)
    choices = [Choice(*choice) for choice in _choices(console.environment)]
    findings = check(kernel.catalog, kernel.drivers, choices)
    if form == "json":
        console.document([_finding(each) for each in findings])
    elif findings:
        rows = [(each.severity, each.plugin.kind, each.plugin.name, each.plugin.origin, each.text) for each in findings]
        console.table(("SEVERITY", "KIND", "NAME", "DISTRIBUTION", "FINDING"), rows)
    problems = sum(each.severity is Severity.PROBLEM for each in findings)
    console.message(f"{len(kernel.catalog.plugins)} plugins checked, {problems or 'no'} problem{'s'[problems == 1 :]}")
    context.exit(1 if problems else 0)


@plugins.command()
@_FORMAT
@click.pass_obj
def hooks(console: Console, form: str) -> None:
    """List each hook with the plugins that contribute to it."""
    bus = _kernel(console.environment).hooks
    contributors = bus.describe()
    if form == "json":
        console.document(contributors)
    else:
        rows = [(hook, ", ".join(labels) or "-") for hook, labels in contributors.items()]
        console.table(("HOOK", "PLUGINS"), rows)
    for label, reason in bus.failures.items():
        console.message(f"{label} is left out: {reason}")


def _kernel(environment: Mapping[str, str]) -> Kernel:
    from thv_core.kernel import compose  # loads the hooks of every plugin

    return compose(environment, sys.platform)


def _choices(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield each setting that chooses a plugin: its key, the kind, the name, and whether that is the default."""
    file = configuration_file(environment)
    defaults = Configuration()
    for setting, kind in CHOICES.items():
        name = str(file.get(setting))
        if name:
            yield setting, kind, name, name == attrgetter(setting)(defaults)


def _chosen(environment: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(kind, name) for _, kind, name, _ in _choices(environment)}


def _row(plugin: Plugin, chosen: set[tuple[str, str]]) -> tuple[str, ...]:
    status = str(plugin.status) if plugin.status == "ready" else f"{plugin.status}: {plugin.reason}"
    mark = "yes" if (plugin.kind, plugin.name) in chosen else ""
    return (plugin.kind, plugin.name, plugin.distribution, plugin.version, status, mark)


def _described(plugin: Plugin, chosen: set[tuple[str, str]]) -> dict[str, object]:
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": str(plugin.status),
        "reason": plugin.reason,
        "chosen": (plugin.kind, plugin.name) in chosen,
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.plugin.kind,
        "name": finding.plugin.name,
        "distribution": finding.plugin.distribution,
        "version": finding.plugin.version,
        "severity": str(finding.severity),
        "text": finding.text,
    }
