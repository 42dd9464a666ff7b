"""Ask the package index, through uv: the newest version, the lock of a package, and its wheels.

uv is told to use wheels only, so it never runs code of a package to learn about it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from thv_core.errors import PreparationFailed, ThvError, Unavailable
from thv_packages.process import Finished, Program
from thv_packages.pypi.configuration import Indexes, indexes
from thv_packages.pypi.interpreter import Interpreter
from thv_packages.pypi.refusal import refusal
from thv_packages.pypi.requirement import SCHEME, Requirement
from thv_packages.pypi.settings import INDEX_NAME, UvxSettings
from thv_packages.uv import default_index, uv_environment, uv_program
from thv_packages.wording import redacted

__all__ = ["Index"]

_RESOLVE_SECONDS = 120.0
_INSTALL_SECONDS = 900.0
_CLEAN_SECONDS = 60.0
_WHEELS_ONLY = ("--only-binary", ":all:")
_COMPILE = ("pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", *_WHEELS_ONLY)
_INSTALL = ("pip", "install", "--quiet", "--require-hashes", "--no-deps", *_WHEELS_ONLY, "--requirements")


class Index:
    """The package index as the settings and the user's environment (``UV_*``) name it, with a cache of its own."""

    def __init__(self, cache: Path, environment: Mapping[str, str], settings: UvxSettings) -> None:
        self._settings = settings
        self._environment = settings.indexes(uv_environment(cache, environment))

    @property
    def asked(self) -> Indexes:
        """Which indexes are asked; others may be configured at any time."""
        asked = indexes(self._environment)
        named = bool(self._settings.index_username or self._settings.index_password_secret)
        return dataclasses.replace(asked, guarded=asked.guarded or named)

    def urls(self) -> tuple[str, ...]:
        """Return the URL of every index that is asked, the default first.

        :raises PreparationFailed: when nobody names it.
        """
        asked = self.asked
        return (asked.default or default_index(), *asked.further)

    def newest(self, requirement: Requirement, python: str, prepared: Sequence[Requirement]) -> str:
        """Return the newest version that has a wheel for this interpreter.

        :param prepared: what this machine has, newest first, for the hints of errors.
        :raises PackageNotFound: when there is no such package.
        :raises NoWheel: when no version of it has a usable wheel.
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

    def forget_downloads(self) -> None:
        """Delete what uv keeps of downloads, unless uv is at work: it would keep the space of discarded roots."""
        Program(
            (uv_program(), "cache", "clean", "--quiet"),
            directory="/",
            seconds=_CLEAN_SECONDS,
            environment={**self._environment, "UV_LOCK_TIMEOUT": "1"},
        ).run()

    def _compile(
        self, requirement: Requirement, python: str, options: Sequence[str], prepared: Sequence[Requirement]
    ) -> Finished:
        finished = self._run((*_COMPILE, *options, "--python", python), requirement.line, _RESOLVE_SECONDS, ())
        if finished.status:
            raise self._explained(requirement, finished, prepared)
        return finished

    def _run(self, arguments: Sequence[str], text: str, seconds: float, keep: tuple[int, ...]) -> Finished:
        username, password = self._settings.credentials()
        named = {"USERNAME": username, "PASSWORD": password}
        secret = {f"UV_INDEX_{INDEX_NAME.upper()}_{name}": value for name, value in named.items() if value}
        finished = Program(
            (uv_program(), *arguments),
            # uv reads settings from the folders above the one it starts in, and none of those concerns thv.
            directory="/",
            seconds=seconds,
            environment={**self._environment, **secret},
            text=text,
            keep=keep,
        ).run()
        return Finished(finished.status, finished.output, redacted(finished.errors, password))

    def _explained(self, requirement: Requirement, finished: Finished, prepared: Sequence[Requirement]) -> ThvError:
        index = self.asked.name.subject
        if finished.timed_out:
            late = f"{index} did not deliver {requirement.label} in time"
            return Unavailable(late, hint="Check the network and try again.")
        return refusal(requirement, finished.errors, prepared, index)
