"""Ask the package index, through uv: the newest version, the lock of a package, and its wheels.

uv is told to use wheels only, so it never runs code of a package to learn about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from thv_core.errors import PreparationFailed, ThvError, Unavailable
from thv_packages.index_name import IndexName, index_name
from thv_packages.interpreter import Interpreter
from thv_packages.process import Finished, Program, passed_environment
from thv_packages.refusal import refusal
from thv_packages.requirement import SCHEME, Requirement
from thv_packages.trust import trust

__all__ = ["Index"]

_RESOLVE_SECONDS = 120.0
_INSTALL_SECONDS = 900.0
_WHEELS_ONLY = ("--only-binary", ":all:")
_COMPILE = ("pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", *_WHEELS_ONLY)
_INSTALL = ("pip", "install", "--quiet", "--require-hashes", "--no-deps", *_WHEELS_ONLY, "--requirements")
_SETTINGS = {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "hardlink", "NO_COLOR": "1"}
_PATIENCE = {"UV_HTTP_RETRIES": "2"}
"""What the user's environment may override: retries take 10 s when there are three, and nobody answers."""


class Index:
    """The package index as the user's environment names it (``UV_*``), with a cache of its own."""

    def __init__(self, cache: Path, environment: Mapping[str, str]) -> None:
        self._environment = {
            **_PATIENCE,
            **trust(environment),
            **passed_environment(environment),
            **_SETTINGS,
            "UV_CACHE_DIR": str(cache / "uv"),
        }

    @property
    def name(self) -> IndexName:
        """How the index is called; another than PyPI may be configured at any time."""
        return index_name(self._environment)

    def newest(self, requirement: Requirement, python: str, prepared: Sequence[Requirement]) -> str:
        """Return the newest version that has a wheel for this interpreter.

        :param prepared: what this machine has, newest first, for the hints of errors.
        :raises PackageNotFound: when there is no such package.
        :raises PreparationFailed: when no version of it has a usable wheel.
        :raises Unavailable: when the index does not answer.
        """
        finished = self._compile(requirement, python, ("--no-deps",), prepared)
        pinned = re.search(rf"^{re.escape(requirement.name)}(?:\[.*\])?==(\S+)", finished.output, re.MULTILINE)
        if pinned is None:
            raise PreparationFailed(
                f"uv names no version of {requirement.label}",
                evidence=finished.output.split()[:3],
                hint=f"Name the version:  thv run {SCHEME}://{requirement.label}@VERSION",
            )
        return pinned[1]

    def lock(self, requirement: Requirement, interpreter: Interpreter, prepared: Sequence[Requirement]) -> str:
        """Return a requirements file with exact versions and hashes of a package and all that it needs.

        :raises ThvError: as :meth:`newest`.
        """
        return self._compile(requirement, interpreter.executable, ("--generate-hashes",), prepared).output

    def install(self, requirement: Requirement, lock: Path, python: Path, keep: int) -> None:
        """Install the wheels of a lock into the still empty environment of ``python``.

        uv starts that interpreter once, before the first wheel is there, and never afterwards.

        :param keep: the descriptor of the lock of the root: should this process be killed, uv goes on holding it.
        :raises PreparationFailed: when a wheel is damaged or does not fit.
        :raises Unavailable: when the index does not answer.
        """
        finished = self._run((*_INSTALL, str(lock), "--python", str(python)), "", _INSTALL_SECONDS, (keep,))
        if finished.status:
            raise self._explained(requirement, finished, ())

    def _compile(
        self, requirement: Requirement, python: str, options: Sequence[str], prepared: Sequence[Requirement]
    ) -> Finished:
        finished = self._run((*_COMPILE, *options, "--python", python), requirement.line, _RESOLVE_SECONDS, ())
        if finished.status:
            raise self._explained(requirement, finished, prepared)
        return finished

    def _run(self, arguments: Sequence[str], text: str, seconds: float, keep: tuple[int, ...]) -> Finished:
        return Program(
            (_uv(), *arguments),
            # uv reads settings from the folders above the one it starts in, and none of those concerns thv.
            directory="/",
            seconds=seconds,
            environment=self._environment,
            text=text,
            keep=keep,
        ).run()

    def _explained(self, requirement: Requirement, finished: Finished, prepared: Sequence[Requirement]) -> ThvError:
        index = self.name.subject
        if finished.timed_out:
            late = f"{index} did not deliver {requirement.label} in time"
            return Unavailable(late, hint="Check the network and try again.")
        return refusal(requirement, finished.errors, prepared, index)


def _uv() -> str:
    # uv is asked only when a package is not prepared yet; control starts without it.
    from uv import find_uv_bin

    try:
        return str(find_uv_bin())
    except FileNotFoundError as error:
        raise PreparationFailed("uv is not installed", hint="Install the distribution `uv` beside thv.") from error
