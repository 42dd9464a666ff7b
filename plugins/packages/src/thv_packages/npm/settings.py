"""The settings that the source and the builder of ``npx`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from thv_core.errors import SettingsError
from thv_packages.reach import index_url
from thv_packages.setting import hosts, known, text

__all__ = ["NpxSettings"]

_KEYS = ("node", "registry", "registry_token_secret", "tarball_host")


@dataclass(frozen=True)
class NpxSettings:
    """Which Node packages run with, and where they come from; empty is what the environment and npm's files say."""

    node: str = ""
    registry: str = ""
    registry_token_secret: str = ""
    tarball_host: tuple[str, ...] = ()
    secret: Callable[[str], str] = field(default=str, repr=False)

    @classmethod
    def parse(cls, settings: Mapping[str, object], secret: Callable[[str], str]) -> NpxSettings:
        """Parse the section of ``config.yaml``.

        :param secret: returns the value of a secret by its name.
        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        known(settings, _KEYS, "npx")
        registry = settings.get("registry")
        node = text(settings, "node")
        if node and not node.startswith("/"):
            raise SettingsError(f"node is {node!r}, not an absolute path", hint="Write /usr/bin/node, for example.")
        parsed = cls(
            node=node,
            registry=index_url(registry, "registry") if registry else "",
            registry_token_secret=text(settings, "registry_token_secret"),
            tarball_host=hosts(settings, "tarball_host"),
            secret=secret,
        )
        if parsed.registry_token_secret and not parsed.registry:
            hint = "Set `registry` to the URL it belongs to."
            raise SettingsError("registry_token_secret is set, but no registry", hint=hint)
        return parsed

    def token(self) -> str:
        """Return the token for the registry, empty when the settings name none; ask only when needed.

        :raises SecretNotFound: when the store has no such secret.
        :raises SecretStoreFailed: when the store cannot be read.
        """
        return self.secret(self.registry_token_secret) if self.registry_token_secret else ""
