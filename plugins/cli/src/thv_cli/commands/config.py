"""``thv config``: the user's settings, changed without touching the rest of ``config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import click

from thv_cli.installation import configuration_file, installed_plugins
from thv_core.errors import NotFound

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["config"]

_CHOICES = {
    "gateway": ("gateway", "the gateway"),
    "runtime": ("runtime", "the default runtime"),
    "secrets.provider": ("secrets", "the secret store"),
}
"""The settings that choose a plugin: its kind, and what it then is."""

_FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to show it.")


def _keys(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    del parameter
    return [key for key in _settable(context.obj.environment) if key.startswith(incomplete)]


def _values(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    del parameter
    kind, _ = _CHOICES.get(context.params.get("key") or "", ("", ""))
    ready = installed_plugins(context.obj.environment).ready(kind)
    return [plugin.name for plugin in ready if plugin.name.startswith(incomplete)]


@click.group()
def config() -> None:
    """Read and change the settings of thv."""


@config.command("list")
@_FORMAT
@click.pass_obj
def list_settings(console: Console, form: str) -> None:
    """List every setting with its value."""
    file = configuration_file(console.environment)
    settings = {key: file.get(key) for key in _settable(console.environment)}
    settings |= dict(_flat("plugins", file.load().plugins))
    if form == "json":
        console.document(settings)
    else:
        console.table(("KEY", "VALUE"), [(key, _shown(value)) for key, value in settings.items()])


@config.command()
@click.argument("key", shell_complete=_keys)
@_FORMAT
@click.pass_obj
def get(console: Console, key: str, form: str) -> None:
    """Print the value of the setting KEY, or its default."""
    value = configuration_file(console.environment).get(key)
    if form == "json":
        console.document(value)
        return
    if value is None:
        raise NotFound(f"{key} is not set", hint=f"thv config set {key} VALUE")
    console.line(_shown(value))


@config.command("set")
@click.argument("key", shell_complete=_keys)
@click.argument("value", shell_complete=_values)
@click.pass_obj
def set_value(console: Console, key: str, value: str) -> None:
    """Set KEY to VALUE.

    A setting that chooses a plugin takes only one that is installed and may be loaded.
    """
    said = f"{key} is now {value}"
    if key in _CHOICES and value:
        kind, what = _CHOICES[key]
        plugin = installed_plugins(console.environment).find(kind, value)
        said = f"{value} is now {what} ({plugin.origin})"
    configuration_file(console.environment).set(key, value)
    console.message(said)


@config.command()
@click.argument("key", shell_complete=_keys)
@click.pass_obj
def unset(console: Console, key: str) -> None:
    """Remove KEY from the settings, so that its default holds again."""
    configuration_file(console.environment).unset(key)
    console.message(f"{key} is not set any more")


def _settable(environment: Mapping[str, str]) -> list[str]:
    """Return the settings of thv itself; those of plugins are known to the plugins only."""
    known = configuration_file(environment).keys()
    return [key for key in known if key.islower()]


def _flat(path: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, Mapping):
        return [(path, value)]
    section = cast("Mapping[str, object]", value)
    return [each for key, inner in section.items() for each in _flat(f"{path}.{key}", inner)]


def _shown(value: object) -> str:
    """Return a value as the user would write it for ``config set``."""
    if isinstance(value, (list, tuple)):
        return ",".join(_shown(each) for each in cast("list[object]", value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
