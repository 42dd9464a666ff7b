"""``thv config``: the user's settings, changed without touching the rest of ``config.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import click

from thv_cli.commands.certificates import get_ca_cert, set_ca_cert, unset_ca_cert
from thv_cli.installation import CHOICES, configuration_file, installed_plugins, would_disable
from thv_core.errors import NotFound, Unsupported
from thv_core.loading.catalog import scan
from thv_core.model.document import nearest
from thv_core.state.settings_keys import known

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["config"]

_ROLES = {
    "egress": "the egress",
    "gateway": "the gateway",
    "runtime": "the default runtime",
    "secrets.provider": "the secret store",
}
"""What a plugin is when a setting chooses it."""

_PLUGINS = "plugins."
"""What the key of every setting of a plugin begins with."""

_FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to show it.")


def _keys(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    del parameter
    return [key for key in (*_settable(context.obj.environment), _PLUGINS) if key.startswith(incomplete)]


def _values(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    del parameter
    ready = installed_plugins(context.obj.environment).ready(CHOICES.get(context.params.get("key") or "", ""))
    return [plugin.name for plugin in ready if plugin.name.startswith(incomplete)]


@click.group()
def config() -> None:
    """Read and change the settings of thv."""


config.add_command(get_ca_cert)
config.add_command(set_ca_cert)
config.add_command(unset_ca_cert)


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


# A value may begin with a dash, and no option of this command does not begin with two.
@config.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("key", shell_complete=_keys)
@click.argument("value", shell_complete=_values)
@click.pass_obj
def set_value(console: Console, key: str, value: str) -> None:
    """Set KEY to VALUE.

    A setting that chooses a plugin takes only one that is installed and may be loaded; one of a plugin is shown to the
    plugin before it is written.
    """
    said = f"{key} is now {value}"
    warnings = _refuse_wrong(console, key, value)
    if key in CHOICES and value:
        plugin = installed_plugins(console.environment).find(CHOICES[key], value)
        said = f"{value} is now {_ROLES[key]} ({plugin.origin})"
    configuration_file(console.environment).set(key, value)
    console.message(said)
    for warning in (*warnings, *_unmatched(key, value)):
        console.message(warning)


@config.command()
@click.argument("key", shell_complete=_keys)
@click.pass_obj
def unset(console: Console, key: str) -> None:
    """Remove KEY from the settings, so that its default holds again."""
    configuration_file(console.environment).unset(key)
    console.message(f"{key} is not set any more")


@config.command("usage-metrics")
@click.argument("choice", metavar="enable|disable", type=click.Choice(["enable", "disable"]))
@click.pass_obj
def usage_metrics(console: Console, choice: str) -> None:
    """Say that there are no usage metrics: nothing is to disable, and nothing can be enabled."""
    if choice == "enable":
        raise Unsupported("there are no usage metrics: nothing is collected, or sent to anybody")
    console.message("there are no usage metrics, and nothing to disable")


def _refuse_wrong(console: Console, key: str, value: str) -> list[str]:
    if not key.startswith(_PLUGINS) or not known(key):
        return []
    from thv_cli.plugin_settings import refuse_wrong  # composes drivers, which other settings do not need

    return refuse_wrong(console.environment, key, value)


def _unmatched(key: str, value: str) -> Iterator[str]:
    """Warn of names that no installed plugin has; it may still be installed later, so they are no errors."""
    plugins = scan().plugins
    if key == "disabled":
        words = [word.strip() for word in value.strip("[] ").split(",")]
        known = {name for plugin in plugins for name in (plugin.name, plugin.distribution)}
        strangers = [word for word in words if word and not would_disable(word)]
    else:
        known = {plugin.name for plugin in plugins}
        strangers = [key.split(".")[1]] if key.startswith(_PLUGINS) and key.split(".")[1] not in known else []
    for name in strangers:
        meant = nearest(name.rpartition(":")[2], sorted(known))
        yield f"no installed plugin is named {name}{f'; did you mean {meant}?' if meant else ''}"


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
