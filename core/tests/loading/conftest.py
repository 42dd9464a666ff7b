"""Real distributions in a temporary directory: metadata, modules, and nothing of pip."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from thv_core.loading.catalog import Catalog, scan
from thv_core.loading.drivers import Drivers
from thv_core.spi import Surroundings

FITTING = "thv-core>=0.1,<0.2"


class Site(NamedTuple):
    """A directory on ``sys.path``; every module written by ``add`` appends its name to ``imported`` when it runs."""

    folder: Path
    imported: Path

    def add(
        self,
        distribution: str,
        entry_points: Mapping[str, Mapping[str, str]],
        modules: Mapping[str, str] | None = None,
        requires: Sequence[str] = (FITTING,),
    ) -> Path:
        """Install a distribution and return its metadata directory."""
        metadata = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 1.0"]
        lines += [f"Requires-Dist: {each}" for each in requires]
        (metadata / "METADATA").write_text("\n".join([*lines, "", "A text: with a colon"]), encoding="utf-8")
        text = "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in offers.items())
            for group, offers in entry_points.items()
        )
        (metadata / "entry_points.txt").write_text(text, encoding="utf-8")
        for name, source in (modules or {}).items():
            self.module(name, source)
        return metadata

    def module(self, name: str, source: str) -> None:
        """Write a module that leaves a trace when it is imported."""
        trace = f"with open({str(self.imported)!r}, 'a') as trace: trace.write({name + chr(10)!r})"
        file = self.folder.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{trace}\n{source}\n" if compiles(source) else source, encoding="utf-8")
        importlib.invalidate_caches()

    def traces(self) -> list[str]:
        """Return the names of the modules that were imported."""
        return self.imported.read_text(encoding="utf-8").split() if self.imported.exists() else []

    def scan(self, disabled: Sequence[str] = ()) -> Catalog:
        """Scan this directory alone."""
        return scan(disabled, importlib.metadata.distributions(path=[str(self.folder)]))

    def drivers(
        self, settings: Mapping[str, Mapping[str, object]] | None = None, disabled: Sequence[str] = ()
    ) -> Drivers:
        """Return the drivers of this directory alone."""
        return Drivers(self.scan(disabled), settings or {}, surroundings_in(self.folder))


def compiles(source: str) -> bool:
    """Tell whether ``source`` is Python."""
    try:
        compile(source, "source", "exec")
    except SyntaxError:
        return False
    return True


def surroundings_in(folder: Path) -> Callable[[str], Surroundings]:
    """Return the surroundings of a plugin below ``folder``."""
    return lambda name: Surroundings(state=folder / "state" / name, cache=folder / "cache" / name)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty directory at the head of ``sys.path``; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    known = set(sys.modules)
    yield Site(folder, tmp_path / "imported")
    for name in set(sys.modules) - known:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
