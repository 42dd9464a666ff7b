"""The settings that the source and the builder of ``uvx`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from thv_core.errors import SettingsError
from thv_packages.pypi.interpreter import default_python
from thv_packages.reach import index_url
from thv_packages.setting import hosts, known, text, words

__all__ = ["INDEX_NAME", "UvxSettings"]

INDEX_NAME = "thv"
"""The name by which uv knows the index of the settings, and its credentials."""

_KEYS = ("python", "index", "extra_index", "index_username", "index_password_secret", "files_host")
_REPLACED = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")


@dataclass(frozen=True)
class UvxSettings:
    """Which Python packages run with, and where they come from; empty is what uv and the environment say."""

    python: str
    index: str = ""
    extra_index: tuple[str, ...] = ()
    index_username: str = ""
    index_password_secret: str = ""
    files_host: tuple[str, ...] = ()
    secret: Callable[[str], str] = field(default=str, repr=False)

    @classmethod
    def parse(cls, settings: Mapping[str, object], secret: Callable[[str], str]) -> UvxSettings:
        """Parse the section of ``config.yaml``.

        :param secret: returns the value of a secret by its name.
        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        known(settings, _KEYS, "uvx")
        index = settings.get("index")
        parsed = cls(
            python=_python(settings.get("python") or default_python()),
            index=index_url(index, "index") if index else "",
            extra_index=tuple(index_url(each, "extra_index") for each in words(settings, "extra_index")),
            index_username=text(settings, "index_username"),
            index_password_secret=text(settings, "index_password_secret"),
            files_host=hosts(settings, "files_host"),
            secret=secret,
        )
        if (parsed.index_username or parsed.index_password_secret) and not parsed.index:
            raise SettingsError("index_username is set, but no index", hint="Set `index` to the URL it belongs to.")
        return parsed

    def indexes(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of uv with the indexes of the settings, which replace those of the user's shell."""
        chosen = {name: value for name, value in environment.items() if not (self.index and name in _REPLACED)}
        if self.index:
            chosen["UV_DEFAULT_INDEX"] = f"{INDEX_NAME}={self.index}"
        if self.extra_index:
            chosen["UV_INDEX"] = " ".join(filter(None, [*self.extra_index, environment.get("UV_INDEX", "")]))
        return chosen

    def credentials(self) -> tuple[str, str]:
        """Return user and password for the index, both empty when the settings name none; ask only when needed.

        :raises SecretNotFound: when the store has no such secret.
        :raises SecretStoreFailed: when the store cannot be read.
        """
        password = self.secret(self.index_password_secret) if self.index_password_secret else ""
        return (self.index_username or ("__token__" if password else ""), password)


def _python(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise SettingsError(f"python is {value!r}, not an absolute path", hint="Write /usr/bin/python3, for example.")
    return value
