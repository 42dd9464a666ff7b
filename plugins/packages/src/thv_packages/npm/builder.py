"""The builder ``npx``: packages of npm as read-only roots, prepared once in a workshop."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from thv_core.spi import Builder, PackageRoot, PackageSpec, PreparedPackage, Progress, Surroundings, Workshop
from thv_packages import inventory
from thv_packages.disk import disk_errors, private_folder
from thv_packages.npm.choice import Nodes
from thv_packages.npm.executables import command
from thv_packages.npm.install import Installation
from thv_packages.npm.lock import Lock
from thv_packages.npm.node import Node, identity
from thv_packages.npm.package_name import SCHEME, NpmPackage, exact
from thv_packages.npm.settings import NpxSettings
from thv_packages.reach import reach
from thv_packages.room import SYSTEM_PATH, Room, opened
from thv_packages.shelf import Shelf, entries
from thv_packages.tree import seal, size
from thv_packages.trust import certificates
from thv_packages.wording import prepared

__all__ = ["NpxBuilder"]

Report = Callable[[Progress], None]


@dataclass(frozen=True)
class _Call:
    """One call of :meth:`NpxBuilder.build`; ``scripts`` says that install scripts may run."""

    package: NpmPackage
    scripts: bool
    report: Report
    workshop: Workshop

    def announce(self, step: str, text: str) -> None:
        self.report(Progress(step=step, text=text, done=False))


class NpxBuilder(Builder):
    """Prepares ``npx`` packages; npm itself, and what a user allowed, run in a workshop and nowhere else."""

    def __init__(self, surroundings: Surroundings, settings: NpxSettings) -> None:
        self._settings = settings
        self._cache = surroundings.cache
        self._environment = surroundings.environment
        self._nodes = Nodes(surroundings, settings)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the builder; the settings are those of :class:`NpxSettings`.

        :raises SettingsError: when a setting is unknown or has a wrong value.
        """
        return cls(surroundings, NpxSettings.parse(settings, surroundings.secret))

    def build(self, package: PackageSpec, report: Report, workshop: Workshop) -> PackageRoot:
        """Prepare a package, or find it prepared; see :meth:`thv_core.spi.Builder.build`.

        :raises TimedOut: besides, when another process has been preparing the same root for 20 minutes.
        """
        started = time.monotonic()
        call = _Call(exact(package), package.scripts, report, workshop)
        with disk_errors(call.package.line):
            private_folder(self._cache)
            found = self._found(call)
            root = found or self._prepare(call)
        report(prepared(root, time.monotonic() - started, found=bool(found)))
        return root

    def prepared(self) -> Sequence[PreparedPackage]:
        """List what is prepared; see :meth:`thv_core.spi.Builder.prepared`."""
        return inventory.prepared(self._cache, SCHEME)

    def discard(self, package: PreparedPackage) -> None:
        """Delete a root; see :meth:`thv_core.spi.Builder.discard`."""
        inventory.discard(self._cache, package)

    def _found(self, call: _Call) -> PackageRoot | None:
        """Return what was prepared for any Node that could be chosen now, without starting it."""
        shelves = (self._shelf(node, call) for node in self._nodes.here())
        return next(filter(None, (shelf.find(call.package.name, call.package.version) for shelf in shelves)), None)

    def _shelf(self, node: str, call: _Call) -> Shelf:
        return Shelf(self._cache, identity(node, call.scripts))

    def _prepare(self, call: _Call) -> PackageRoot:
        # What an interrupted preparation left would lie there until somebody prunes.
        with contextlib.suppress(OSError):
            inventory.sweep(self._cache)
        text = "Node, because there is none here that is usable"
        chosen, node = self._nodes.choose(lambda: call.announce("downloading", text))
        shelf = self._shelf(chosen, call)
        digest = _digest(call, node)
        with shelf.held(digest):
            root = shelf.root(digest)
            if root is None:
                with shelf.making(digest) as folder:
                    root = self._make(call, node, shelf.jobs(digest), folder)
                    shelf.complete(digest, root)
            shelf.remember(call.package.name, call.package.version, digest)
        return root

    def _make(self, call: _Call, node: Node, jobs: Path, folder: Path) -> PackageRoot:
        tree = folder / "tree"
        tree.mkdir()
        asked = self._nodes.registries()
        room = Room(
            folder=jobs,
            workshop=call.workshop,
            read=(*node.view, node.npm, *([f"{node.headers}/include/node"] if call.scripts and node.headers else [])),
            reach=reach(asked.used(call.package.scope), self._settings.tarball_host),
        )
        with opened(room, certificates(self._environment)):
            installation = Installation(call.package, node, asked, self._settings, room, tree)
            call.announce("installing", f"{call.package.line}, isolated")
            lock, text = installation.install(tuple(entry.label for entry in entries(self._cache)))
            (folder / "lock.json").write_bytes(text)
            _scripts(call, installation, lock)
        seal(tree)
        return PackageRoot(
            path=str(folder),
            command=command(tree, call.package, node),
            view=node.view,
            environment={"PATH": f"{tree}/node_modules/.bin:{Path(node.executable).parent}:{SYSTEM_PATH}"},
            packages=sum((tree / path).is_dir() for path in lock.paths),
            size=size(tree),
        )


def _scripts(call: _Call, installation: Installation, lock: Lock) -> None:
    if not lock.scripted:
        return
    if not call.scripts:
        text = f"install scripts of {lock.named} were not run (--allow-scripts runs them, isolated)"
        call.report(Progress(step="skipped", text=text))
        return
    call.announce("building", f"install scripts of {lock.named}, isolated")
    installation.run_scripts()


def _digest(call: _Call, node: Node) -> str:
    """Name a root by the package, what it runs with, and whether scripts ran; npm locks the rest when it is made."""
    made_of = [call.package.line, call.scripts, node.executable, node.abi, node.platform, node.view]
    return hashlib.sha256(msgspec.json.encode(made_of)).hexdigest()[:32]
