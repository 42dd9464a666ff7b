"""The composition root: clock, environment and plugins enter here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from thv_core.errors import SecretNotFound
from thv_core.loading.catalog import Catalog, scan
from thv_core.loading.drivers import Drivers
from thv_core.loading.hooks import HookBus
from thv_core.loading.kinds import KINDS
from thv_core.spi.drivers import Surroundings
from thv_core.spi.secrets import SecretStore
from thv_core.state.configuration import Configuration, ConfigurationFile
from thv_core.state.paths import Paths

__all__ = ["Kernel", "compose"]


class NoStore(SecretStore):
    """The store of a user who chose none: it has no secret and says how to choose one."""

    def get(self, name: str) -> str:
        """Refuse, saying how to choose a store."""
        raise SecretNotFound(
            f"secret {name} is not set, and no secret store is chosen",
            hint=f"Choose one:  thv config set secrets.provider NAME   or take it from your shell:  env:{name}",
        )

    def names(self) -> list[str]:
        """Return no name."""
        return []


@dataclass(frozen=True)
class Kernel:
    """What one process of thv is composed of."""

    paths: Paths
    configuration: Configuration
    catalog: Catalog
    drivers: Drivers
    hooks: HookBus

    def surroundings(self, name: str) -> Surroundings:
        """Return what the plugin ``name`` may know of the machine."""
        return self.drivers.surroundings(name)

    def furnish(self) -> None:
        """Make the directories of every driver that may be loaded, so that no later question has to.

        :raises StateUnusable: when one cannot be made.
        """
        for kind in KINDS.values():
            for plugin in self.catalog.ready(kind.word) if kind.driver else ():
                self.surroundings(plugin.name)

    def secret_store(self) -> SecretStore:
        """Return the chosen secret store.

        :raises PluginNotFound: when the chosen one is not installed; also ``PluginRefused`` and ``PluginBroken``.
        """
        provider = self.configuration.secrets.provider
        return self.drivers.get(SecretStore, provider) if provider else NoStore()


def compose(environment: Mapping[str, str], system: str) -> Kernel:
    """Compose a process from its environment and the name of its operating system (``sys.platform``).

    :raises SettingsError: when ``config.yaml`` is not usable.
    """
    paths = Paths.from_environment(environment, system)
    paths.ensure()
    configuration = ConfigurationFile(paths.config_file).load()
    catalog = scan(configuration.disabled)

    shown = {**environment, **_trust(configuration.ca_certificate_path)}

    def surroundings(name: str) -> Surroundings:
        return Surroundings(
            state=paths.plugin_state(name),
            cache=paths.plugin_cache(name),
            environment=dict(shown),
            forbidden=(paths.config, paths.state, paths.cache),
            secret=lambda secret: kernel.secret_store().get(secret),
        )

    drivers = Drivers(catalog, configuration.plugins, surroundings)
    kernel = Kernel(paths, configuration, catalog, drivers, HookBus(catalog))
    return kernel


def _trust(certificates: str) -> dict[str, str]:
    """Return the variables by which programs that fetch packages find the certificates that the user chose."""
    return {"SSL_CERT_FILE": certificates, "NODE_EXTRA_CA_CERTS": certificates} if certificates else {}
