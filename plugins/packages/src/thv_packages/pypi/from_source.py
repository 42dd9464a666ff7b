"""Build packages from their source distributions, in a workshop: their code runs there, and nowhere else.

The jobs see uv, the interpreter and the folders of thv that they write; they reach the package index. They get no
credentials, because the code of a package would get them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thv_core.errors import PreparationFailed, ThvError
from thv_core.spi import Finished
from thv_packages.disk import read_bounded, shared_folder
from thv_packages.pypi.configuration import Indexes
from thv_packages.pypi.environment import clear_own, make_own
from thv_packages.pypi.recipe import Recipe
from thv_packages.pypi.refusal import NoWheel, refusal
from thv_packages.room import Errand, Room
from thv_packages.tree import take_over
from thv_packages.uv import uv_program

__all__ = ["SourceBuild", "buildable"]

_LONGEST_LOCK = 4 * 1024 * 1024
_COMPILE = ("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes")
_INSTALL = ("pip", "install", "--quiet", "--require-hashes", "--no-deps")
_PASSED = ("UV_INDEX_STRATEGY", "UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES")
_SETTINGS = {
    "UV_NO_CONFIG": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_LINK_MODE": "copy",
    "NO_COLOR": "1",
}


def buildable(lacking: NoWheel, asked: Indexes) -> None:
    """Refuse to build what comes from an index that needs credentials.

    :raises NoWheel: saying why.
    """
    if asked.guarded:
        raise NoWheel(
            lacking.message,
            lacking.culprit,
            (*lacking.evidence, "building it would show the password of your package index to its code"),
            hint="Put a wheel of it into your package index.",
        ) from None


@dataclass(frozen=True)
class SourceBuild:
    """The jobs that build one root in a room."""

    recipe: Recipe
    room: Room
    asked: Indexes
    environment: Mapping[str, str]

    def lock(self) -> str:
        """Return a requirements file with exact versions and hashes; the builds that tell them run in the workshop.

        :raises ThvError: as for packages with wheels.
        """
        given, made = self.room.folder / "requirements.in", self.room.folder / "requirements.txt"
        given.write_text(f"{self.recipe.requirement.line}\n", encoding="utf-8")
        given.chmod(0o644)
        python = self.recipe.interpreter.executable
        self._run("resolve", (*_COMPILE, str(given), "--output-file", str(made), "--python", python))
        return read_bounded(made, _LONGEST_LOCK).decode("utf-8", "replace")

    def install(self, lock: Path, tree: Path) -> None:
        """Install what a lock names into a new tree, and take over what the job left there."""
        for folder in (tree, *tree.rglob("*")):
            if folder.is_dir() and not folder.is_symlink():
                shared_folder(folder)
        python = str(tree / "bin" / "python")
        arguments = (*_INSTALL, "--requirements", str(lock), "--python", python)
        self._run("install", arguments, read=(str(lock),), write=(str(tree),))
        clear_own(tree)
        take_over(tree, self.recipe.requirement.line)
        make_own(tree, self.recipe.interpreter)

    def _run(
        self, name: str, arguments: tuple[str, ...], read: tuple[str, ...] = (), write: tuple[str, ...] = ()
    ) -> None:
        passed = {key: self.environment[key] for key in _PASSED if self.environment.get(key)}
        named = {"UV_DEFAULT_INDEX": self.asked.default, "UV_INDEX": " ".join(self.asked.further)}
        environment = {
            **passed,
            **_SETTINGS,
            "UV_CACHE_DIR": str(self.room.folder / "cache"),
            **{key: value for key, value in named.items() if value},
        }
        finished = self.room.run(Errand(name, (uv_program(), *arguments), environment, read, write))
        if finished.exit_code:
            raise self._explained(finished)

    def _explained(self, finished: Finished) -> ThvError:
        requirement = self.recipe.requirement
        if finished.timed_out:
            late = f"{requirement.line} was not built in time"
            return PreparationFailed(late, hint="Try another version, or one that has wheels.")
        return refusal(requirement, finished.output, (), self.asked.name.subject)
