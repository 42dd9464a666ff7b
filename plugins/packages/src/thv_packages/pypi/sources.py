"""Ask an index what uv cannot tell without building: the newest source of a package, and where files lie.

The simple API (PEP 503, 691) says enough, and nothing of any package runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin

import msgspec

from thv_core.errors import Unavailable
from thv_packages.reach import authority
from thv_packages.web import Answer, Web

__all__ = ["file_hosts", "newest_source"]

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, text/html;q=0.1"
_MOST_HOSTS = 16
_BUILD_TOOL = "setuptools"
"""A package that most builds need, and whose page no stranger writes."""


@dataclass(frozen=True)
class _File:
    """One file of an index: ``python`` is the Pythons that it is for (PEP 440), or empty."""

    url: str
    name: str
    python: str = ""
    yanked: bool = False


class _Described(msgspec.Struct, rename="kebab"):
    url: str
    filename: str
    requires_python: str | None = None
    yanked: bool | str = False


class _Described691(msgspec.Struct):
    files: list[_Described]


class _Links(HTMLParser):
    """Collects the links of a page of PEP 503."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[_File] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            url = str(given["href"]).partition("#")[0]
            name = url.rpartition("/")[2]
            self.files.append(_File(url, name, given.get("data-requires-python") or "", "data-yanked" in given))


def newest_source(web: Web, urls: Iterable[str], name: str, python: str) -> str:
    """Return the newest version with a source distribution for a Python, no pre-release unless there is no other.

    The first index that knows the package decides, as uv does it. The version is empty when there is none.

    :param name: the normalised name.
    :raises Unavailable: when an index does not answer.
    """
    for url in urls:
        answer = web.get(f"{url.rstrip('/')}/{name}/", _ACCEPT)
        if answer:
            return _newest(_files(answer), name, python)
    return ""


def file_hosts(web: Web, urls: Iterable[str]) -> frozenset[str]:
    """Return ``HOST:PORT`` of where indexes keep their files.

    :raises Unavailable: when an index does not answer, or names more than 16 hosts.
    """
    hosts: set[str] = set()
    for url in urls:
        page = f"{url.rstrip('/')}/{_BUILD_TOOL}/"
        answer = web.get(page, _ACCEPT)
        hosts |= {_authority(page, each.url) for each in _files(answer)} if answer else set()
    hosts.discard("")
    if len(hosts) > _MOST_HOSTS:
        raise Unavailable(
            f"the files of your package indexes lie at {len(hosts)} hosts",
            hint=f"{_MOST_HOSTS} at most can be reached. Use another index.",
        )
    return frozenset(hosts)


def _authority(page: str, link: str) -> str:
    with contextlib.suppress(ValueError):
        return authority(urljoin(page, link))
    return ""


def _files(answer: Answer) -> list[_File]:
    if answer.kind != _JSON:
        links = _Links()
        # A page may be no HTML at all; what was read before is what there is.
        with contextlib.suppress(AssertionError):
            links.feed(answer.body.decode("utf-8", "replace"))
        return links.files
    with contextlib.suppress(msgspec.DecodeError):
        listed = msgspec.json.decode(answer.body, type=_Described691).files
        return [_File(each.url, each.filename, each.requires_python or "", bool(each.yanked)) for each in listed]
    return []


def _newest(files: list[_File], name: str, python: str) -> str:
    from packaging.version import Version

    versions: Mapping[bool, list[Version]] = {True: [], False: []}
    for version in _versions(files, name, python):
        parsed = Version(version)
        versions[parsed.is_prerelease].append(parsed)
    return str(max(versions[False] or versions[True], default=""))


def _versions(files: list[_File], name: str, python: str) -> Iterator[str]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    for file in files:
        with contextlib.suppress(InvalidSdistFilename, InvalidSpecifier):
            found, version = parse_sdist_filename(file.name)
            if found == name and not file.yanked and SpecifierSet(file.python).contains(python, prereleases=True):
                yield str(version)
