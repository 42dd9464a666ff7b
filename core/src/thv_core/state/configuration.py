"""The user's ``config.yaml``: read strictly, edited without losing a comment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from thv_core.errors import SettingsError
from thv_core.model.wording import misfit
from thv_core.state.files import locked, read_or_none, write_atomically
from thv_core.state.settings_keys import (
    KEYS,
    SECTIONS,
    Configuration,
    HealthSettings,
    SecretsSettings,
    example,
    known,
    parsed,
    unknown,
)

if TYPE_CHECKING:
    from thv_core.state.yaml_document import YamlDocument

__all__ = ["Configuration", "ConfigurationFile", "HealthSettings", "SecretsSettings"]

PATIENCE = 10.0
"""Seconds to wait for another process that edits the file."""


class ConfigurationFile:
    """One settings file; it need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Configuration:
        """Read the settings; those that are not set have their defaults.

        :raises SettingsError: naming the key path, its line and the nearest known key.
        """
        try:
            content = read_or_none(self._path)
        except OSError as error:
            raise SettingsError(f"{self._path} cannot be read: {error.strerror}") from None
        if not content:
            return Configuration()
        return self._validated(self._document(content))

    def get(self, key_path: str) -> object:
        """Return the value of one setting, or its default; ``None`` for a setting of a plugin that is not set.

        :raises SettingsError: when there is no such setting.
        """
        if not known(key_path):
            raise unknown(key_path)
        value = msgspec.to_builtins(self.load())
        for part in key_path.split("."):
            value = cast("Mapping[str, object]", value).get(part) if isinstance(value, Mapping) else None
        return value

    def set(self, key_path: str, text: str) -> None:
        """Set one setting to what ``text`` means for its type; everything else in the file stays as it is.

        :raises SettingsError: when there is no such setting, or the text is no value for it; nothing is written.
        """
        if not known(key_path):
            raise unknown(key_path)
        value = parsed(key_path, text, _scalar)
        self._edit(lambda document: document.with_value(key_path.split("."), value))

    def unset(self, key_path: str) -> None:
        """Remove one setting, or one that does not exist but is written in the file; absence is no error.

        :raises SettingsError: when it is neither.
        """

        def without(document: YamlDocument) -> bytes | None:
            content = document.without(key_path.split("."))
            if content is None and not known(key_path):
                raise unknown(key_path)
            return content

        self._edit(without)

    def keys(self) -> tuple[str, ...]:
        """Return every key path that can be set; ``plugins.NAME.KEY`` stands for those of the plugins."""
        return KEYS

    def _edit(self, change: Callable[[YamlDocument], bytes | None]) -> None:
        # The user may keep the file elsewhere and link to it.
        target = self._path.resolve()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self._path.with_name(f"{self._path.name}.lock"), PATIENCE):
            before = read_or_none(target) or b""
            after = change(self._document(before))
            if after is not None and after != before:
                self._validated(self._document(after))
                write_atomically(target, after)

    def _document(self, content: bytes) -> YamlDocument:
        from thv_core.state.yaml_document import YamlDocument  # ruamel.yaml is needed only when there is a file

        return YamlDocument(content, str(self._path))

    def _validated(self, document: YamlDocument) -> Configuration:
        values = document.plain()
        for path in _unknown_paths(values):
            raise unknown(".".join(path), self._where(document, path))
        for path, reason in _ill_typed_sections(values):
            raise SettingsError(f"{'.'.join(path)} {reason}{self._where(document, path)}", hint=example(""))
        try:
            configuration = msgspec.convert(values, Configuration)
        except msgspec.ValidationError as error:
            wrong = misfit(str(error))
            path = wrong.path.partition("[")[0].split(".")
            where = self._where(document, path)
            raise SettingsError(f"{wrong.sentence('it')}{where}", hint=example(".".join(path))) from None
        if configuration.ca_certificate_path and not Path(configuration.ca_certificate_path).is_absolute():
            key = "ca_certificate_path"
            raise SettingsError(f"{key} must be an absolute path{self._where(document, [key])}", hint=example(key))
        return configuration

    def _where(self, document: YamlDocument, path: list[str]) -> str:
        return f" ({self._path}, line {document.line(path)})"


def _scalar(text: str) -> object:
    from thv_core.state.yaml_document import scalar  # ruamel.yaml is needed only for the settings of plugins

    return scalar(text)


def _unknown_paths(values: Mapping[str, object]) -> Iterator[list[str]]:
    for key, value in values.items():
        if key not in Configuration.__struct_fields__:
            yield [key]
        elif key in SECTIONS and isinstance(value, Mapping):
            section = cast("Mapping[str, object]", value)
            yield from ([key, each] for each in section if each not in SECTIONS[key].__struct_fields__)


def _ill_typed_sections(values: dict[str, object]) -> Iterator[tuple[list[str], str]]:
    plugins = values.get("plugins", {})
    if not isinstance(plugins, dict):
        yield ["plugins"], "must be a mapping of plugin names"
    else:
        sections = cast("dict[str, object]", plugins)
        wrong = (name for name, section in sections.items() if not isinstance(section, dict))
        yield from ((["plugins", name], "must be a mapping of settings") for name in wrong)
