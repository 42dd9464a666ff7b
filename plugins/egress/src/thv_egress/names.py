"""The names that an incarnation looked up, and the addresses of the pool that stand for them.

A mapping is on disk before it is told, and never changes while the incarnation lives: a server may keep an address as
long as it likes, and a gateway that was killed is replaced by one that knows it. Lines of ``ADDRESS NAME`` are only
ever appended. A predecessor that still drains may append to the same file, hence the lock and the second look.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import time
from collections.abc import Container
from pathlib import Path

from thv_core.errors import ThvError

__all__ = ["MOST_NAMES", "NamesUnusable", "PoolNames", "prune"]

MOST_NAMES = 4096
"""How many names an incarnation can look up in its life."""

RESERVED = 2
"""Addresses at the begin of the pool that stand for no name: the network's own, and the one of the interface."""

KEPT = 90 * 86400.0
"""Seconds after which the file of an incarnation that nobody serves is removed."""


class NamesUnusable(ThvError):
    """The names of an incarnation cannot be read or written."""


class PoolNames:
    """Maps names to addresses of the pool and back, for one incarnation."""

    __slots__ = ("_addresses", "_first", "_names", "_path", "_read", "_room", "pool")

    def __init__(self, pool: ipaddress.IPv4Network, path: Path) -> None:
        self._path, self.pool = path, pool
        self._first = int(pool.network_address)
        self._room = min(MOST_NAMES, pool.num_addresses - RESERVED - 1)
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._read = 0
        try:
            self.touch()
            self._refresh()
        except OSError as error:
            raise NamesUnusable(f"the names in {path} cannot be read: {error.strerror}") from error

    def name(self, address: str) -> str:
        """Return the name that an address stands for, or an empty string."""
        if address not in self._names:
            # Of what cannot be read nothing is known; the connection is refused, and recorded.
            with contextlib.suppress(OSError):
                self._refresh()
        return self._names.get(address, "")

    def address(self, name: str) -> str:
        """Return the address that stands for a name, a new one when it has none, or an empty string when all are used.

        :raises NamesUnusable: when a new one cannot be written down.
        """
        if name not in self._addresses:
            try:
                self._assign(name)
            except OSError as error:
                raise NamesUnusable(f"the names in {self._path} cannot be written: {error.strerror}") from error
        return self._addresses.get(name, "")

    def touch(self) -> None:
        """Keep the file, if there is one, from being pruned."""
        if self._path.exists():
            os.utime(self._path)

    def _assign(self, name: str) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_size < self._read:
                # Somebody removed the file; what was told is written down again before anything new is told.
                self._read = 0
                self._append(descriptor, "".join(f"{at} {told}\n" for at, told in self._names.items()))
            self._learn(descriptor)
            if name not in self._addresses and len(self._names) < self._room:
                address = str(ipaddress.IPv4Address(self._first + RESERVED + len(self._names)))
                self._append(descriptor, f"{address} {name}\n")
                self._take(address, name)
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int, lines: str) -> None:
        # Whatever follows the last whole line was never told: half a name must not become a line.
        os.ftruncate(descriptor, self._read)
        if os.write(descriptor, lines.encode()) != len(lines):
            os.ftruncate(descriptor, self._read)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._read += len(lines)

    def _refresh(self) -> None:
        if self._path.exists():
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._learn(descriptor)
            finally:
                os.close(descriptor)

    def _learn(self, descriptor: int) -> None:
        content = os.pread(descriptor, max(0, os.fstat(descriptor).st_size - self._read), self._read)
        whole, newline, _ = content.rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.decode("ascii", "replace").split("\n"):
            address, _, name = line.partition(" ")
            if name and address not in self._names and name not in self._addresses:
                self._take(address, name)

    def _take(self, address: str, name: str) -> None:
        self._addresses[name] = address
        self._names[address] = name


def prune(directory: Path, incarnation: str, in_use: Container[str]) -> None:
    """Remove the files of incarnations before this one of its workload, and of those that nobody served for long."""
    workload, _, generation = incarnation.rpartition(".")
    oldest = time.time() - KEPT
    for path in directory.iterdir():
        other, _, earlier = path.name.rpartition(".")
        precedes = other == workload and _number(earlier) < _number(generation)
        # Another gateway, that drains or begins, may be pruning too.
        with contextlib.suppress(FileNotFoundError):
            if path.name not in in_use and (precedes or path.stat().st_mtime < oldest):
                path.unlink()


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
