"""Install a package with npm, in a workshop: its files first, without running anything of it, then its scripts.

The first job may know the token of the registry, and runs npm alone. Scripts run in a second one that does not, and
only when the user allowed them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from thv_core.errors import PreparationFailed
from thv_core.spi import Finished
from thv_packages.disk import read_bounded, shared_folder
from thv_packages.npm.lock import Lock, checked_lock
from thv_packages.npm.node import Node
from thv_packages.npm.package_name import NpmPackage
from thv_packages.npm.refusal import refusal
from thv_packages.npm.registries import Registries
from thv_packages.npm.settings import NpxSettings
from thv_packages.reach import authority
from thv_packages.room import SYSTEM_PATH, Errand, Room
from thv_packages.tree import take_over
from thv_packages.wording import evidence, redacted

__all__ = ["Installation"]

_LONGEST_LOCK = 32 * 1024 * 1024
_TOKEN = "NPX_REGISTRY_TOKEN"  # noqa: S105 - the name of a variable
_SETTINGS = {
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "npm_config_progress": "false",
    "npm_config_loglevel": "error",
    "npm_config_logs_max": "0",
    "npm_config_omit": "dev",
    # A package in git is refused anyway, and git may run what its repository says.
    "npm_config_git": "/nonexistent/git",
    "npm_config_fetch_retries": "2",
    "npm_config_fetch_retry_mintimeout": "500",
    "npm_config_fetch_retry_maxtimeout": "4000",
    "NO_COLOR": "1",
}


@dataclass(frozen=True)
class Installation:
    """The jobs that install one package into ``tree``, in a room."""

    package: NpmPackage
    node: Node
    registries: Registries
    settings: NpxSettings
    room: Room
    tree: Path

    def install(self, prepared: tuple[str, ...]) -> tuple[Lock, bytes]:
        """Install every file and run nothing; return what npm locked, checked, and as its bytes.

        :param prepared: the names of what this machine has, for the hints of errors.
        :raises ThvError: when it cannot be had, or is not safe to keep.
        """
        token = self.settings.token()
        manifest = {"private": True, "dependencies": {self.package.name: self.package.version}}
        (self.tree / "package.json").write_bytes(msgspec.json.encode(manifest))
        self._write_npmrc("npmrc", guarded=bool(token))
        self._write_npmrc("npmrc-scripts", guarded=False)
        secret = {_TOKEN: token} if token else {}
        finished = self._npm("install", {"npm_config_ignore_scripts": "true", **secret}, "npmrc")
        if finished.exit_code:
            self._explain(finished, refusal(self.package, redacted(finished.output, token), self.registries, prepared))
        text = read_bounded(self.tree / "package-lock.json", _LONGEST_LOCK)
        lock = checked_lock(text, self.package.line, self._hosts())
        take_over(self.tree, self.package.line)
        return lock, text

    def run_scripts(self) -> None:
        """Run the install scripts of every package, without credentials.

        :raises PreparationFailed: when one fails.
        """
        headers = {"npm_config_nodedir": self.node.headers} if self.node.headers else {}
        allowed = {"npm_config_ignore_scripts": "false", "npm_config_foreground_scripts": "true"}
        finished = self._npm("rebuild", {**allowed, **headers}, "npmrc-scripts")
        if finished.exit_code:
            self._explain(
                finished,
                PreparationFailed(
                    f"the install scripts of {self.package.line} failed",
                    evidence=evidence(redacted(finished.output)),
                    hint="They reach the registry and nothing else. Run it without --allow-scripts, if it can do so.",
                ),
            )
        take_over(self.tree, self.package.line)

    def _npm(self, command: str, environment: dict[str, str], npmrc: str) -> Finished:
        settings = {
            **_SETTINGS,
            "npm_config_cache": str(self.room.folder / "cache"),
            "npm_config_userconfig": str(self.room.folder / npmrc),
            "npm_config_globalconfig": str(self.room.folder / "npmrc-of-nobody"),
            "PATH": f"{Path(self.node.executable).parent}:{SYSTEM_PATH}",
        }
        program = (self.node.executable, f"{self.node.npm}/bin/npm-cli.js", command, "--prefix", str(self.tree))
        shared_folder(self.tree)
        return self.room.run(Errand(command, program, {**settings, **environment}, write=(str(self.tree),)))

    def _write_npmrc(self, name: str, *, guarded: bool) -> None:
        lines = [f"registry={self.registries.default}/"]
        lines += [f"{scope}:registry={url}/" for scope, url in self.registries.scoped.items()]
        if guarded:
            lines.append(f"//{self.registries.default.partition('://')[2]}/:_authToken=${{{_TOKEN}}}")
        path = self.room.folder / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        path.chmod(0o644)

    def _hosts(self) -> frozenset[str]:
        named = (f"https://{host}" for host in self.settings.tarball_host)
        return self.registries.authorities | frozenset(map(authority, named))

    def _explain(self, finished: Finished, error: Exception) -> NoReturn:
        if finished.timed_out:
            late = f"{self.package.line} was not installed in time"
            raise PreparationFailed(late, hint="Check the network and try again, or try another version.")
        raise error
