"""The builder ``uvx``: packages of PyPI as read-only roots, content-addressed, prepared once."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from thv_core.spi import Builder, PackageRoot, PackageSpec, PreparedPackage, Progress, Surroundings, Workshop
from thv_packages import inventory
from thv_packages.disk import disk_errors, private_folder
from thv_packages.process import passed_environment
from thv_packages.pypi.environment import compile_tree, make_tree
from thv_packages.pypi.executables import command
from thv_packages.pypi.from_source import SourceBuild, buildable
from thv_packages.pypi.hiding import hidden_folders
from thv_packages.pypi.index import Index
from thv_packages.pypi.interpreter import Interpreter, identity, inspect
from thv_packages.pypi.recipe import Recipe
from thv_packages.pypi.refusal import NoWheel
from thv_packages.pypi.requirement import SCHEME, Requirement, exact, labelled
from thv_packages.pypi.settings import UvxSettings
from thv_packages.pypi.sources import file_hosts
from thv_packages.reach import reach
from thv_packages.room import SYSTEM_PATH, Room, opened
from thv_packages.shelf import Shelf
from thv_packages.tree import seal, size
from thv_packages.trust import certificates
from thv_packages.uv import uv_program
from thv_packages.web import Web
from thv_packages.wording import counted, prepared

__all__ = ["UvxBuilder"]

Report = Callable[[Progress], None]


@dataclass(frozen=True)
class _Call:
    """One call of :meth:`UvxBuilder.build`."""

    requirement: Requirement
    report: Report
    workshop: Workshop
    shelf: Shelf

    def announce(self, step: str, text: str) -> None:
        self.report(Progress(step=step, text=text, done=False))


class UvxBuilder(Builder):
    """Prepares ``uvx`` packages from wheels; code of a package runs in a workshop, and only when it has no wheel."""

    def __init__(self, surroundings: Surroundings, settings: UvxSettings) -> None:
        self._settings = settings
        self._cache = surroundings.cache
        self._environment = surroundings.environment
        self._index = Index(surroundings.cache, surroundings.environment, settings)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the builder; the settings are those of :class:`UvxSettings`.

        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        return cls(surroundings, UvxSettings.parse(settings, surroundings.secret))

    def build(self, package: PackageSpec, report: Report, workshop: Workshop) -> PackageRoot:
        """Prepare a package, or find it prepared; see :meth:`thv_core.spi.Builder.build`.

        The last progress is ``prepared``; before it, each slow step announces itself.

        :raises TimedOut: besides, when another process has been preparing the same root for 20 minutes.
        """
        started = time.monotonic()
        requirement = exact(package)
        shelf = Shelf(self._cache, identity(self._settings.python))
        with disk_errors(requirement.line):
            private_folder(self._cache)
            found = shelf.find(requirement.label, requirement.version)
            root = found or self._prepare(_Call(requirement, report, workshop, shelf))
        report(prepared(root, time.monotonic() - started, found=bool(found)))
        # Not part of the root: the system may get an npm, or lose it, at any time.
        return msgspec.structs.replace(root, hidden=hidden_folders())

    def prepared(self) -> Sequence[PreparedPackage]:
        """List what is prepared; see :meth:`thv_core.spi.Builder.prepared`."""
        return inventory.prepared(self._cache, SCHEME)

    def discard(self, package: PreparedPackage) -> None:
        """Delete a root and whatever was downloaded for it; see :meth:`thv_core.spi.Builder.discard`."""
        inventory.discard(self._cache, package)
        self._index.forget_downloads()

    def _prepare(self, call: _Call) -> PackageRoot:
        # What an interrupted preparation left would lie there until somebody prunes.
        with contextlib.suppress(OSError):
            inventory.sweep(self._cache)
        call.announce("resolving", call.requirement.line)
        interpreter = inspect(self._settings.python, passed_environment(self._environment))
        recipe, lacking = self._recipe(call, interpreter)
        digest = recipe.digest
        with call.shelf.held(digest) as held:
            root = call.shelf.root(digest)
            if root is None:
                with call.shelf.making(digest) as folder:
                    made = self._filled(call, recipe, lacking, (folder, held))
                    root = self._finish(call, made, folder, held)
                    call.shelf.complete(digest, root)
            call.shelf.remember(call.requirement.label, call.requirement.version, digest)
        return root

    def _recipe(self, call: _Call, interpreter: Interpreter) -> tuple[Recipe, NoWheel | None]:
        prepared = [labelled(*each) for each in call.shelf.prepared()]
        try:
            return Recipe(
                call.requirement, interpreter, self._index.lock(call.requirement, interpreter, prepared)
            ), None
        except NoWheel as lacking:
            buildable(lacking, self._index.asked)
            return Recipe(call.requirement, interpreter), lacking

    def _filled(self, call: _Call, recipe: Recipe, lacking: NoWheel | None, held: tuple[Path, int]) -> Recipe:
        """Fill the folder of a root, whose lock is held, and return the recipe with its lock."""
        if lacking:
            return self._build(call, recipe, held[0], lacking)
        self._install(call, recipe, *held)
        return recipe

    def _install(self, call: _Call, recipe: Recipe, folder: Path, held: int) -> None:
        lock = folder / "lock.txt"
        lock.write_text(recipe.lock, encoding="utf-8")
        python = make_tree(folder / "tree", recipe.interpreter)
        call.announce("downloading", counted(recipe.packages))
        self._index.install(recipe.requirement, lock, python, held)

    def _build(self, call: _Call, recipe: Recipe, folder: Path, lacking: NoWheel) -> Recipe:
        call.announce("building", f"{lacking.culprit} from source, isolated")
        asked = self._index.asked
        urls = self._index.urls()
        hosts = file_hosts(Web(self._environment), urls)
        room = Room(
            folder=call.shelf.jobs(recipe.digest),
            workshop=call.workshop,
            read=(uv_program(), *recipe.interpreter.view),
            reach=reach(urls, self._settings.files_host, hosts),
        )
        with opened(room, certificates(self._environment)):
            build = SourceBuild(recipe, room, asked, self._environment)
            lock = folder / "lock.txt"
            lock.write_text(build.lock(), encoding="utf-8")
            lock.chmod(0o644)
            make_tree(folder / "tree", recipe.interpreter)
            build.install(lock, folder / "tree")
            return dataclasses.replace(recipe, lock=lock.read_text(encoding="utf-8"))

    def _finish(self, call: _Call, recipe: Recipe, folder: Path, held: int) -> PackageRoot:
        tree = folder / "tree"
        argv = command(tree, tree / recipe.interpreter.packages, recipe.requirement)
        call.announce("compiling", counted(recipe.packages))
        compile_tree(tree, recipe.interpreter, held)
        seal(tree)
        return PackageRoot(
            path=str(folder),
            command=argv,
            view=recipe.interpreter.view,
            environment={"PATH": f"{tree}/bin:{SYSTEM_PATH}", "PYTHONDONTWRITEBYTECODE": "1"},
            packages=recipe.packages,
            size=size(tree),
        )
