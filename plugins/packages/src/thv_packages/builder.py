"""The builder ``uvx``: packages of PyPI as read-only roots, content-addressed, prepared once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from thv_core.spi import Builder, PackageRoot, PackageSpec, Progress, Surroundings
from thv_packages.disk import disk_errors, private_folder
from thv_packages.executables import command
from thv_packages.index import Index
from thv_packages.interpreter import identity, inspect
from thv_packages.process import passed_environment
from thv_packages.recipe import Recipe, counted
from thv_packages.requirement import Requirement, exact
from thv_packages.settings import chosen_python
from thv_packages.shelf import Shelf
from thv_packages.tree import compile_tree, make_tree, seal, size

__all__ = ["UvxBuilder"]

Report = Callable[[Progress], None]

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class UvxBuilder(Builder):
    """Prepares ``uvx`` packages from wheels only; no code of a package runs here."""

    def __init__(self, surroundings: Surroundings, python: str) -> None:
        self._python = python
        self._cache = surroundings.cache
        self._environment = passed_environment(surroundings.environment)
        self._index = Index(surroundings.cache, surroundings.environment)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the builder; the setting ``python`` is the interpreter that packages run with.

        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        return cls(surroundings, chosen_python(settings))

    def build(self, package: PackageSpec, report: Report) -> PackageRoot:
        """Prepare a package, or find it prepared; see :meth:`thv_core.spi.Builder.build`.

        The last progress is ``prepared``; before it, each slow step announces itself.

        :raises TimedOut: besides, when another process has been preparing the same root for 20 minutes.
        """
        started = time.monotonic()
        requirement = exact(package)
        shelf = Shelf(self._cache, identity(self._python))
        with disk_errors(requirement):
            private_folder(self._cache)
            found = shelf.find(requirement)
            root = found or self._prepare(requirement, shelf, report)
        text = f"{counted(root.packages)}, {max(1, round(root.size / 1_000_000))} MB{', already here' if found else ''}"
        report(Progress(step="prepared", text=text, seconds=time.monotonic() - started))
        return root

    def _prepare(self, requirement: Requirement, shelf: Shelf, report: Report) -> PackageRoot:
        report(Progress(step="resolving", text=requirement.line, done=False))
        interpreter = inspect(self._python, self._environment)
        lock = self._index.lock(requirement, interpreter, shelf.prepared())
        recipe = Recipe(requirement, interpreter, lock)
        with shelf.held(recipe.digest) as held:
            root = shelf.root(recipe.digest)
            if root is None:
                root = self._make(recipe, shelf.cleared(recipe.digest), held, report)
                shelf.complete(recipe.digest, root)
            shelf.remember(requirement, recipe.digest)
        return root

    def _make(self, recipe: Recipe, folder: Path, held: int, report: Report) -> PackageRoot:
        lock, tree = folder / "lock.txt", folder / "tree"
        lock.write_text(recipe.lock, encoding="utf-8")
        python = make_tree(tree, recipe.interpreter)
        report(Progress(step="downloading", text=counted(recipe.packages), done=False))
        self._index.install(recipe.requirement, lock, python, held)
        argv = command(tree, tree / recipe.interpreter.packages, recipe.requirement)
        report(Progress(step="compiling", text=counted(recipe.packages), done=False))
        compile_tree(tree, recipe.interpreter, held)
        seal(tree)
        return PackageRoot(
            path=str(folder),
            command=argv,
            view=recipe.interpreter.view,
            environment={"PATH": f"{tree}/bin:{_SYSTEM_PATH}", "PYTHONDONTWRITEBYTECODE": "1"},
            packages=recipe.packages,
            size=size(tree),
        )
