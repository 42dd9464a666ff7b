"""What is remembered of clients' sessions, so that another life of their server goes on with them, or another gateway.

``sessions.json`` (atomic, 0600) holds for each workload how its clients introduced themselves, which session of each
incarnation is theirs, what they asked to be told, and which sessions have ended. Session ids open sessions: they are
written nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from thv_gateway.servers.handshake import UNREADABLE, write_private

__all__ = [
    "ANONYMOUS",
    "MAX_PARAMS",
    "MAX_VISITORS",
    "SESSIONS_FILE",
    "VERBOSITY",
    "Memory",
    "Recollection",
    "Stay",
    "Visitor",
]

SESSIONS_FILE = "sessions.json"

ANONYMOUS = ""
"""The id under which the clients of a server without sessions are remembered, as one."""

MAX_VISITORS = 10_000
MAX_PARAMS = 8 * 1024
MAX_ENDED = 10_000
MAX_USED = 10_000
MAX_LEVELS = 1000
MAX_ABSENT = 64
"""So many workloads are remembered that have no route now: what is stopped may be started again."""

_QUICK_SECONDS = 0.001
_SHARE = 20
"""Writing that takes longer than that takes at most one part in so many of the time of this process."""

_KEPT = ("protocolVersion", "capabilities", "clientInfo")
VERBOSITY = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

_logger = logging.getLogger("thv.gateway")


class Stay(msgspec.Struct, frozen=True, array_like=True):
    """The session of a client at one incarnation.

    ``version`` is the revision that the gateway agreed upon for it, empty when the client did so itself.
    """

    id: str
    version: str = ""


class Visitor(msgspec.Struct, kw_only=True):
    """A client's session: raw parameters of its ``initialize``, and by incarnation where it stays.

    ``owner`` is a digest of the principal that opened it; ``used`` is when it was last, in seconds since the epoch.
    """

    params: dict[str, msgspec.Raw]
    stays: dict[str, Stay] = msgspec.field(default_factory=dict[str, Stay])
    owner: str = ""
    used: float = 0.0


class Recollection(msgspec.Struct, kw_only=True):
    """What is remembered of the sessions of one workload, by the ids that the clients know.

    ``subscriptions`` are URIs, ``levels`` those of ``logging/setLevel``, ``ended`` the ends of ids of our own, and
    ``used`` when such were last in use, as far as it was noted.
    """

    visitors: dict[str, Visitor] = msgspec.field(default_factory=dict[str, Visitor])
    subscriptions: dict[str, list[str]] = msgspec.field(default_factory=dict[str, list[str]])
    levels: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    ended: dict[str, bool] = msgspec.field(default_factory=dict[str, bool])
    used: dict[str, int] = msgspec.field(default_factory=dict[str, int])

    def admit(
        self, identifier: str, params: Mapping[str, bytes], incarnation: str, stay: Stay, owner: str = ""
    ) -> None:
        """Remember how a client introduced itself, in so far as it did at no great length; the one idle longest goes.

        Its id is remembered in any case: another life may give the same one to another client.
        """
        self.visitors.pop(identifier, None)
        while len(self.visitors) >= MAX_VISITORS:
            self.forget(next(iter(self.visitors)))
        self.visitors[identifier] = Visitor(params=_kept(params), stays={incarnation: stay}, owner=owner)

    def touch(self, identifier: str) -> None:
        """Note that a session is in use, which makes it the last one to be forgotten."""
        visitor = self.visitors.pop(identifier, None)
        if visitor is not None:
            self.visitors[identifier] = visitor

    def forget(self, identifier: str) -> None:
        """Forget a session and all that it asked for."""
        for each in (self.visitors, self.subscriptions, self.levels):
            each.pop(identifier, None)

    def end(self, identifier: str) -> None:
        """Forget a session, and remember that its id is refused from now on."""
        self.forget(identifier)
        self.used.pop(_end(identifier), None)
        while len(self.ended) >= MAX_ENDED:
            del self.ended[next(iter(self.ended))]
        self.ended[_end(identifier)] = True

    def has_ended(self, identifier: str) -> bool:
        """Tell whether a session of the gateway's own has ended."""
        return _end(identifier) in self.ended

    def use(self, identifier: str, when: float) -> None:
        """Note when a session of the gateway's own was in use."""
        self.used.pop(_end(identifier), None)
        while len(self.used) >= MAX_USED:
            del self.used[next(iter(self.used))]
        self.used[_end(identifier)] = int(when)

    def last_use(self, identifier: str) -> int:
        """Return when that was, as far as it was noted; 0 when it was not."""
        return self.used.get(_end(identifier), 0)

    def want_level(self, identifier: str, level: str) -> None:
        """Remember from which level on a session wants to be told what the server logs, if it is one of MCP."""
        if level not in VERBOSITY:
            return
        self.levels.pop(identifier, None)
        while len(self.levels) >= MAX_LEVELS:
            del self.levels[next(iter(self.levels))]
        self.levels[identifier] = level

    def most_verbose(self, asked: str = "", besides: str | None = None) -> str:
        """Return the level that serves every session but one, and what that one asks for; empty for no level."""
        others = {level for each, level in self.levels.items() if each != besides}
        if asked and asked not in VERBOSITY:
            return ""
        return next((level for level in VERBOSITY if level in others or level == asked), "")

    def retain(self, incarnations: Iterable[str]) -> bool:
        """Forget where sessions stay at any other incarnation; tell whether there was anything to forget."""
        kept, changed = set(incarnations), False
        for visitor in self.visitors.values():
            if not visitor.stays.keys() <= kept:
                visitor.stays = {name: stay for name, stay in visitor.stays.items() if name in kept}
                changed = True
        return changed


class Memory:
    """What is remembered of all workloads, kept in one file.

    It is written at each change as long as that is quick, and soon after it otherwise.

    :param path: of the file; one that cannot be read is as good as none. Without a path nothing is read or written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, Recollection] = {}
        self._cost = 0.0
        self._due: asyncio.TimerHandle | None = None
        if path is None:
            return
        with contextlib.suppress(OSError, *UNREADABLE):
            self._known = msgspec.json.decode(path.read_bytes(), type=dict[str, Recollection])

    def of(self, workload: str) -> Recollection:
        """Return what is remembered of a workload's sessions; tell :meth:`changed` of changes."""
        return self._known.setdefault(workload, Recollection())

    def retain(self, workloads: Mapping[str, Iterable[str]]) -> None:
        """Forget all but these incarnations of these workloads, and the oldest of too many others."""
        absent = [name for name in self._known if name not in workloads]
        surplus = absent[: max(0, len(absent) - MAX_ABSENT)]
        for name in surplus:
            del self._known[name]
        stale = [self.of(name).retain(lives) for name, lives in workloads.items()]
        if surplus or any(stale):
            self.changed()

    def changed(self) -> None:
        """Write the file, or see to it that it is written."""
        if self._cost < _QUICK_SECONDS:
            self._write()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(self._cost * _SHARE, self.flush)

    def flush(self) -> None:
        """Write what waits to be written."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
            self._write()

    def _write(self) -> None:
        began = time.monotonic()
        if self._path is None:
            return
        try:
            write_private(self._path, msgspec.json.encode(self._known))
        except OSError as error:
            # What is not written now is written with the next change.
            _logger.error("what is remembered of sessions was not written: %s", error.strerror)
        self._cost = time.monotonic() - began


def _kept(params: Mapping[str, bytes]) -> dict[str, msgspec.Raw]:
    """Return what is kept of an introduction: what a client can, and its name and pictures where there is room."""
    kept: dict[str, msgspec.Raw] = {}
    room = MAX_PARAMS
    for name in _KEPT:
        if name in params and len(params[name]) <= room:
            kept[name] = msgspec.Raw(params[name])
            room -= len(params[name])
    return kept


def _end(identifier: str) -> str:
    return identifier.rpartition(".")[2][:22]
