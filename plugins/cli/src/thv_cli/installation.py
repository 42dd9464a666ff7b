"""What this installation consists of: the user's settings and the plugins that they leave enabled."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from thv_core.errors import ThvError
from thv_core.loading.catalog import Catalog, PluginStatus, scan
from thv_core.state.paths import Paths

if TYPE_CHECKING:
    from thv_core.state.configuration import ConfigurationFile

__all__ = ["CHOICES", "configuration_file", "installed_plugins", "would_disable"]

CHOICES: Mapping[str, str] = {
    "egress": "egress",
    "gateway": "gateway",
    "runtime": "runtime",
    "secrets.provider": "secrets",
}
"""The settings that choose a plugin by its name, and the kind of each."""


def configuration_file(environment: Mapping[str, str]) -> ConfigurationFile:
    """Return the user's ``config.yaml``, which may not exist.

    :raises InvalidRequest: when ``THV_HOME`` is not absolute.
    :raises StateUnusable: when the environment does not say where the user's home is.
    """
    from thv_core.state.configuration import ConfigurationFile  # imports YAML, which --help does not need

    return ConfigurationFile(_config_file(environment))


def installed_plugins(environment: Mapping[str, str]) -> Catalog:
    """Scan what is installed, and refuse what the user disabled.

    :raises SettingsError: when something may be disabled and ``config.yaml`` is not YAML.
    """
    return scan(_disabled(environment))


def would_disable(word: str) -> bool:
    """Tell whether a word in the setting ``disabled`` names anything that is installed."""
    return any(plugin.status is PluginStatus.DISABLED for plugin in scan([word]).plugins)


def _disabled(environment: Mapping[str, str]) -> Collection[str]:
    try:
        file = _config_file(environment)
        content = file.read_bytes()
    except (OSError, ThvError):  # no settings, or no home to look for them: nothing is disabled
        return ()
    # Reading YAML costs more than all the rest of --help, and few settings mention the only key that matters here.
    if b"disabled" not in content:
        return ()
    from thv_core.state.yaml_document import YamlDocument

    # Not ConfigurationFile.load(): a mistake elsewhere in the file must not take away the command that mends it.
    written = YamlDocument(content, str(file)).plain().get("disabled")
    names = cast("list[object]", written) if isinstance(written, list) else [written]
    return [str(name) for name in names if name]


def _config_file(environment: Mapping[str, str]) -> Path:
    return Paths.from_environment(environment, sys.platform).config_file
