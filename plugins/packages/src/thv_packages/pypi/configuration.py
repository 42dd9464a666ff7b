"""Which indexes uv asks: those of its environment, and of the files that it reads its settings from."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from thv_packages.reach import without_credentials

__all__ = ["OTHER", "PYPI", "IndexName", "Indexes", "configuration", "indexes"]

_DEFAULT = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_FURTHER = ("UV_INDEX", "UV_EXTRA_INDEX_URL")
_NO = ("", "0", "false", "f", "no", "n", "off")
_LONGEST_CONFIGURATION = 65536
_NAMED = re.compile(r"^[\w.-]{1,200}=(?=https?://)")
_USER = re.compile(r"UV_INDEX_\w+_(USERNAME|PASSWORD)")


@dataclass(frozen=True)
class IndexName:
    """What an index is called where it acts (``subject``), and where something came from it (``origin``)."""

    subject: str
    origin: str


PYPI = IndexName("PyPI", "PyPI")
OTHER = IndexName("the package index", "your package index")


@dataclass(frozen=True)
class Indexes:
    """The indexes: URLs with whatever credentials they hold; an empty ``default`` is that of uv.

    ``guarded`` says that any needs credentials, ``altered`` that uv takes packages from elsewhere, or nowhere.
    """

    default: str = ""
    further: tuple[str, ...] = ()
    guarded: bool = False
    altered: bool = False

    @property
    def name(self) -> IndexName:
        """How they are called; what may be another index is never called PyPI."""
        return OTHER if self.altered or self.further or self.default else PYPI


def indexes(environment: Mapping[str, str]) -> Indexes:
    """Return the indexes that uv asks in an environment."""
    written = _written(configuration(environment))
    default = next(filter(None, map(environment.get, _DEFAULT)), "") or written.default
    further = [word for name in _FURTHER for word in re.split(r"[\s,]+", environment.get(name, "")) if word]
    urls = tuple(_NAMED.sub("", each) for each in (default, *further, *written.further))
    return Indexes(
        default=urls[0],
        further=urls[1:],
        guarded=any(map(_USER.fullmatch, environment)) or any(without_credentials(each) != each for each in urls),
        altered=written.altered
        or bool(environment.get("UV_FIND_LINKS"))
        or environment.get("UV_NO_INDEX", "").lower() not in _NO,
    )


def configuration(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that uv reads its settings from, beside its environment."""
    if environment.get("UV_CONFIG_FILE"):
        yield Path(environment["UV_CONFIG_FILE"])
        return
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    yield from (Path(folder, "uv", "uv.toml") for folder in (home, "/etc/xdg", "/etc"))


def _written(files: Iterator[Path]) -> Indexes:
    """Return the indexes that files name; one that uv cannot read either names none, and uv says so."""
    sections = [section for path in files for section in _sections(path)]
    named = [index for section in sections for index in _tables(section.get("index"))]
    defaults = [
        *(_text(section.get("index-url")) for section in sections),
        *(_text(index.get("url")) for index in named if index.get("default") is True),
    ]
    further = [
        *(_text(index.get("url")) for index in named if index.get("default") is not True),
        *(url for section in sections for url in _texts(section.get("extra-index-url"))),
    ]
    return Indexes(
        default=next(filter(None, defaults), ""),
        further=tuple(filter(None, further)),
        altered=any(section.get("find-links") or section.get("no-index") for section in sections),
    )


def _sections(path: Path) -> list[Mapping[str, object]]:
    with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
        whole = cast("dict[str, object]", tomllib.loads(file.read(_LONGEST_CONFIGURATION).decode()))
        return [whole, *_tables([whole.get("pip")])]
    return []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [_text(each) for each in cast("list[object]", value)] if isinstance(value, list) else []


def _tables(value: object) -> list[Mapping[str, object]]:
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, object]", each) for each in listed if isinstance(each, dict)]
