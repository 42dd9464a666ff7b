"""How the package index that uv asks is called: PyPI, unless the user has configured another."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OTHER", "PYPI", "IndexName", "index_name"]

_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_NO = ("", "0", "false", "f", "no", "n", "off")
_LONGEST_CONFIGURATION = 65536
_CONFIGURED = re.compile(r"^[^#\n]{0,200}\b(?:index|index-url|extra-index-url|find-links)\b", re.MULTILINE)


@dataclass(frozen=True)
class IndexName:
    """What an index is called where it acts (``subject``), and where something came from it (``origin``)."""

    subject: str
    origin: str


PYPI = IndexName("PyPI", "PyPI")
OTHER = IndexName("the package index", "your package index")


def index_name(environment: Mapping[str, str]) -> IndexName:
    """Name the index that uv asks in an environment; one that may be another is never called PyPI."""
    none = environment.get("UV_NO_INDEX", "").lower() not in _NO
    named = any(environment.get(name) for name in _VARIABLES)
    return OTHER if none or named or any(map(_names_an_index, _configurations(environment))) else PYPI


def _configurations(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that uv reads its settings from, beside its environment."""
    if environment.get("UV_CONFIG_FILE"):
        yield Path(environment["UV_CONFIG_FILE"])
        return
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    yield from (Path(folder, "uv", "uv.toml") for folder in (home, "/etc/xdg", "/etc"))


def _names_an_index(configuration: Path) -> bool:
    with contextlib.suppress(OSError), configuration.open(encoding="utf-8", errors="replace") as file:
        return bool(_CONFIGURED.search(file.read(_LONGEST_CONFIGURATION)))
    return False
