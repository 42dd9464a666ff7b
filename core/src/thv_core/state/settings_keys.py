"""The keys of ``config.yaml``: which exist, and how text from a command line becomes a value of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import msgspec

from thv_core.errors import SettingsError
from thv_core.model.document import Document, nearest

__all__ = [
    "KEYS",
    "SECTIONS",
    "Configuration",
    "HealthSettings",
    "SecretsSettings",
    "example",
    "known",
    "parsed",
    "unknown",
]

PLUGIN_KEY = "plugins.NAME.KEY"

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Moment = Annotated[float, msgspec.Meta(ge=0.1, le=3600)]


class SecretsSettings(Document, frozen=True, kw_only=True):
    """Which secret store is asked; an empty ``provider`` chooses none."""

    provider: str = ""


class HealthSettings(Document, frozen=True, kw_only=True):
    """When a server that was ready counts as hung: see :class:`thv_core.model.route.Liveness`, which has these fields.

    ``interval`` and ``timeout`` are seconds, an hour at most.
    """

    interval: Moment = 10.0
    timeout: Moment = 5.0
    failures: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5


class Configuration(Document, frozen=True, kw_only=True):
    """The user's settings.

    ``ca_certificate_path`` is an absolute path of certificates to trust, for servers and for package indexes.

    ``plugins`` holds the settings of each plugin by its name, which thv passes on without knowing them. ``disabled``
    are names of plugins, ``kind:name``, or names of distributions. Timeouts are seconds, a day at most.

    ``gateway_shared_port`` is that of a listener under which every workload is at ``/NAME/``; 0 is none.
    ``gateway_workers`` is how many processes carry the traffic.
    """

    runtime: str = "sandbox"
    gateway: str = "http"
    gateway_shared_port: Port = 0
    gateway_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    egress: str = "names"
    ca_certificate_path: str = ""
    secrets: SecretsSettings = SecretsSettings()
    plugins: dict[str, dict[str, object]] = msgspec.field(default_factory=dict[str, dict[str, object]])
    disabled: tuple[str, ...] = ()
    start_timeout: Seconds = 60.0
    request_timeout: Seconds = 300.0
    health: HealthSettings = HealthSettings()


SECTIONS: dict[str, type[Document]] = {"health": HealthSettings, "secrets": SecretsSettings}
"""The settings that are mappings of settings themselves."""


def _text(text: str) -> object:
    return text


def _seconds(text: str) -> object:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("a number of seconds")
    return int(value) if value.is_integer() else value


def _whole(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _names(text: str) -> object:
    return [name.strip() for name in text.strip().strip("[]").split(",") if name.strip()]


_PARSERS: dict[str, Callable[[str], object]] = {
    "ca_certificate_path": _text,
    "disabled": _names,
    "egress": _text,
    "gateway": _text,
    "gateway_shared_port": _whole,
    "gateway_workers": _whole,
    "health.failures": _whole,
    "health.interval": _seconds,
    "health.timeout": _seconds,
    "request_timeout": _seconds,
    "runtime": _text,
    "secrets.provider": _text,
    "start_timeout": _seconds,
}

_EXAMPLES = {
    "ca_certificate_path": "/etc/company/ca.pem",
    "disabled": "NAME,NAME",
    "egress": "names",
    "gateway": "http",
    "gateway_shared_port": "19000",
    "gateway_workers": "2",
    "health.failures": "5",
    "health.interval": "10",
    "health.timeout": "5",
    "request_timeout": "300",
    "runtime": "sandbox",
    "secrets.provider": "NAME",
    "start_timeout": "60",
}
_PLUGIN_EXAMPLE = f"thv config set {PLUGIN_KEY} VALUE"

KEYS = (*sorted([*_PARSERS, PLUGIN_KEY]),)
"""Every key path, sorted; the settings of plugins are one pattern."""


def known(key_path: str) -> bool:
    """Tell whether a key path names a setting, or a setting of any plugin."""
    parts = key_path.split(".")
    return key_path in _PARSERS or (parts[0] == "plugins" and len(parts) > 2 and all(parts))


def unknown(key_path: str, where: str = "") -> SettingsError:
    """Return the error for a key path that names no setting, with the nearest that does."""
    meant = nearest(key_path, [*_PARSERS])
    hint = f"Did you mean {meant}?" if meant else f"Known settings: {', '.join(KEYS)}."
    return SettingsError(f"{key_path} is not a known setting{where}", hint=hint)


def example(key_path: str) -> str:
    """Return the command that sets a setting to something that it can be."""
    within = next((key for key in _EXAMPLES if key == key_path or key.startswith(f"{key_path}.")), "")
    return f"thv config set {within} {_EXAMPLES[within]}" if within else _PLUGIN_EXAMPLE


def parsed(key_path: str, text: str, free: Callable[[str], object]) -> object:
    """Turn text from a command line into the value of a setting.

    :param free: parses the value of a plugin's setting, whose type only the plugin knows.
    :raises SettingsError: when the text is not of the type of the setting.
    """
    try:
        return _PARSERS.get(key_path, free)(text)
    except ValueError as error:
        raise SettingsError(f"{key_path} cannot be {text!r}: it is {error}", hint=example(key_path)) from None
