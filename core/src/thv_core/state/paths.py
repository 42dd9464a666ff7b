"""Where the files of thv lie, for each operating system, computed from the environment and nothing else.

Source: XDG Base Directory Specification 0.8. Our directories are named ``thv``; ToolHive's are only imported from.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thv_core.errors import InvalidRequest, StateUnusable

__all__ = ["Paths", "private_directory"]

NAME = "thv"


@dataclass(frozen=True, slots=True)
class Paths:
    """The three directories of one user, and what lies in them.

    ``config`` holds what the user wrote, ``state`` what thv must not forget, ``cache`` what may be deleted any time.
    """

    config: Path
    state: Path
    cache: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], system: str) -> Paths:
        """Compute the directories; nothing is read and nothing is made.

        :param system: the operating system, as ``sys.platform`` or ``platform.system()`` names it.
        :raises InvalidRequest: when ``THV_HOME`` is not absolute.
        :raises StateUnusable: when the environment does not say where the user's home is.
        """
        own = environ.get("THV_HOME", "")
        if own:
            if not Path(own).is_absolute():
                raise InvalidRequest(f"THV_HOME is {own!r}, which is not absolute", hint="Set it to an absolute path.")
            return cls(*(Path(own, part) for part in ("config", "state", "cache")))
        places = _places(environ, system.lower())
        variables = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
        chosen = (_absolute(environ.get(each, "")) for each in variables)
        return cls(*(Path(given or place, NAME) for given, place in zip(chosen, places, strict=True)))

    @property
    def config_file(self) -> Path:
        """The user's settings."""
        return self.config / "config.yaml"

    @property
    def database(self) -> Path:
        """The SQLite store."""
        return self.state / "state.db"

    @property
    def lock(self) -> Path:
        """The lock that makes the supervisor the only one; never unlinked."""
        return self.state / "supervisor.lock"

    @property
    def control_lock(self) -> Path:
        """The lock that makes control the only one; never unlinked."""
        return self.state / "control.lock"

    @property
    def control_socket(self) -> Path:
        """The Unix socket of the control API."""
        return self.state / "control.sock"

    @property
    def api_token(self) -> Path:
        """The token that a request to the API on TCP must carry."""
        return self.state / "api.token"

    @property
    def discovery(self) -> Path:
        """Where a listener of the API says how it is reached; absent while there is none."""
        return self.state / "server.json"

    @property
    def gateway(self) -> Path:
        """The private directory of the gateway's seat."""
        return self.state / "gateway"

    @property
    def interpreter(self) -> Path:
        """A symbolic link to the Python interpreter of the installation that is in charge."""
        return self.state / "interpreter"

    @property
    def logs(self) -> Path:
        """The directory of the logs of thv's own processes and of the proxy logs of workloads."""
        return self.state / "logs"

    @property
    def control_error(self) -> Path:
        """Why control could not start, as the document of an error; absent once it did."""
        return self.state / "control.error"

    @property
    def supervisor_log(self) -> Path:
        """What the three processes write to their standard error when they run in the background."""
        return self.state / "supervisor.log"

    def proxy_log(self, workload: str) -> Path:
        """Return the path of the proxy log of a workload."""
        return self.logs / f"{_component(workload)}.log"

    def plugin_state(self, name: str) -> Path:
        """Return the state directory of a plugin, made private.

        :raises StateUnusable: when it cannot be made or belongs to somebody else.
        """
        return private_directory(private_directory(self.state / "plugins") / _component(name))

    def plugin_cache(self, name: str) -> Path:
        """Return the cache directory of a plugin, made private.

        :raises StateUnusable: when it cannot be made or belongs to somebody else.
        """
        return private_directory(private_directory(self.cache / "plugins") / _component(name))

    def ensure(self) -> None:
        """Make every directory, mode 0700.

        :raises StateUnusable: when one cannot be made, or is owned or writable by somebody else.
        """
        for directory in (self.config, self.state, self.cache, self.gateway, self.logs):
            private_directory(directory)


def private_directory(path: Path) -> Path:
    """Make a directory that only its owner may enter, or check that one is ours, and return it.

    :raises StateUnusable: when it cannot be made, or is owned or writable by somebody else.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_place(path.parent)
        found = path.stat()
        _check_ours(path, found)
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)
    except OSError as error:
        raise StateUnusable(
            f"the directory {path} cannot be used",
            evidence=[str(error)],
            hint="Make it writable for you, or set THV_HOME to another place.",
        ) from error
    return path


def _check_place(folder: Path) -> None:
    """Refuse a folder in which others could put something in the place of what is ours."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise StateUnusable(f"others may write to {folder}", hint=f"chmod go-w {folder}")


def _check_ours(path: Path, found: os.stat_result) -> None:
    owner = os.geteuid() if hasattr(os, "geteuid") else found.st_uid
    if found.st_uid != owner:
        raise StateUnusable(
            f"the directory {path} belongs to somebody else (user id {found.st_uid}, and you are {owner})",
            hint="Set THV_HOME to a directory of your own; with sudo, use sudo -H.",
        )
    # Windows keeps access in lists of its own, and its mode bits say nothing.
    if os.name != "nt" and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StateUnusable(
            f"the directory {path} is writable by others",
            evidence=[f"mode {stat.S_IMODE(found.st_mode):04o}"],
            hint=f"See what is in it, then: chmod 700 {path}",
        )


def _places(environ: Mapping[str, str], system: str) -> tuple[Path, Path, Path]:
    if system.startswith("win"):
        local = _given(environ, "LOCALAPPDATA")
        return local, local, local / "cache"
    home = _given(environ, "HOME")
    if system.startswith("darwin"):
        support = home / "Library" / "Application Support"
        return support, support, home / "Library" / "Caches"
    return home / ".config", home / ".local" / "state", home / ".cache"


def _given(environ: Mapping[str, str], variable: str) -> Path:
    value = environ.get(variable, "")
    if not value:
        raise StateUnusable(
            f"{variable} is not set, so there is no place for the state of thv",
            hint=f"Set {variable}, or THV_HOME to an absolute path.",
        )
    return Path(value)


def _absolute(value: str) -> str:
    """Return ``value`` unless it is relative: the specification says to ignore such a path."""
    return value if Path(value).is_absolute() else ""


def _component(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise InvalidRequest(f"{name!r} cannot name a file or directory")
    return name
