"""Which registries npm packages come from: settings, environment, and the addresses in the user's ``.npmrc``.

Of ``.npmrc`` only the addresses of registries are read; its tokens are not. Who is asked when nobody is named only npm
says.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from thv_packages.npm.settings import NpxSettings
from thv_packages.reach import authority, without_credentials

__all__ = ["Registries", "registries"]

_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
_FILE_VARIABLES = ("npm_config_userconfig", "NPM_CONFIG_USERCONFIG")
_LINE = re.compile(r"\s*(?:(?P<scope>@[a-z0-9~-][a-z0-9._~-]*):)?registry\s*=\s*[\"']?(?P<url>https?://[^\s\"']+)")
_LONGEST_FILE = 65536


@dataclass(frozen=True)
class Registries:
    """The default registry, and those of scopes, as URLs without a last slash.

    ``public`` says that nobody named one, so that npm's own is asked.
    """

    default: str
    scoped: Mapping[str, str] = field(default_factory=dict[str, str])
    public: bool = False

    def of(self, scope: str) -> str:
        """Return the registry of a scope, or of packages without one."""
        return self.scoped.get(scope, self.default)

    def used(self, scope: str) -> tuple[str, ...]:
        """Return the registries that a package of a scope may need: it may depend on packages of any scope."""
        return tuple(dict.fromkeys((self.of(scope), self.default, *self.scoped.values())))

    @property
    def authorities(self) -> frozenset[str]:
        """``HOST:PORT`` of each."""
        return frozenset(map(authority, (self.default, *self.scoped.values())))

    @property
    def subject(self) -> str:
        """What to call them in a sentence."""
        return "npm" if self.public else "the npm registry"


def registries(settings: NpxSettings, environment: Mapping[str, str], otherwise: Callable[[], str]) -> Registries:
    """Return the registries; a setting of thv replaces all of npm's, a variable the default of its file.

    :param otherwise: returns the URL of npm's own registry; it is asked only when nobody names another.
    """
    if settings.registry:
        return Registries(settings.registry)
    written = dict(_written(environment))
    from_file = written.pop("", "")
    named = next(filter(None, map(environment.get, _VARIABLES)), "") or from_file
    scoped = {scope: _plain(url) for scope, url in written.items()}
    return Registries(_plain(named or otherwise()), scoped, public=not named and not scoped)


def _written(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    named = next(filter(None, map(environment.get, _FILE_VARIABLES)), "")
    path = Path(named) if named else Path(environment.get("HOME") or "/nonexistent", ".npmrc")
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file.read(_LONGEST_FILE).splitlines():
            if match := _LINE.match(line):
                yield match["scope"] or "", match["url"]


def _plain(url: str) -> str:
    return without_credentials(url).rstrip("/")
