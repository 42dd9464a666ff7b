"""Dialing: from a host that may be reached to a connected socket, at an address that was checked.

A name is resolved once, each of its addresses is judged, and exactly those that passed are connected to: what the name
resolves to a moment later does not matter. Several addresses race as in RFC 8305.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from thv_core.spi import Verdict
from thv_egress import sockets
from thv_egress.addresses import Address, literal, refusal
from thv_egress.parents import Parent, Parents, TunnelRefused, authority, tunnel
from thv_egress.resolving import Resolver, UnknownName
from thv_egress.rules import Rules

__all__ = ["Dialer", "Reached", "Unreachable"]

RESOLVE_TIMEOUT = 10.0
CONNECT_TIMEOUT = 15.0
ATTEMPT_DELAY = 0.25
"""Seconds after which the next address is tried beside one that has not answered."""

MOST_ADDRESSES = 16
LOOK_UPS = 2
"""How many names one outlet may be looking up at once: the threads of the process belong to all."""


class Unreachable(Exception):
    """Something was not connected; ``address`` is the one that was refused or did not answer, ``late`` a timeout."""

    def __init__(self, verdict: Verdict, reason: str, address: str = "", *, late: bool = False) -> None:
        super().__init__(reason)
        self.verdict, self.reason, self.address, self.late = verdict, reason, address, late


class Reached(NamedTuple):
    """A connected socket, the address of its peer, the parent proxy that it is, and bytes that came already."""

    socket: socket.socket
    address: str
    parent: Parent | None = None
    early: bytes = b""

    @property
    def via(self) -> str:
        """The parent proxy, for the record; empty for a direct connection."""
        return self.parent.label if self.parent else ""


class Dialer:
    """Connects for one outlet; the caller has asked the rules whether the host may be reached at all."""

    __slots__ = ("_lookups", "_parents", "_pool", "_resolver", "_rules")

    def __init__(self, rules: Rules, resolver: Resolver, parents: Parents, pool: ipaddress.IPv4Network) -> None:
        self._rules, self._resolver, self._parents, self._pool = rules, resolver, parents, pool
        self._lookups = asyncio.Semaphore(LOOK_UPS)

    async def reach(self, host: str, port: int, *, tunnelled: bool = True) -> Reached:
        """Connect to a host, by a parent proxy where the user has one.

        :param tunnelled: whether a parent proxy is asked for a tunnel; otherwise the caller speaks to it.
        :raises Unreachable: when it is refused or fails.
        """
        parent = self._parents.choose(host, port)
        if parent is None:
            return await self._directly(host, port)
        try:
            reached = await _race(await self._resolved(parent.host), parent.port)
        except Unreachable as error:
            raise Unreachable(error.verdict, f"the parent proxy: {error.reason}", late=error.late) from error
        reached = reached._replace(parent=parent)
        return await _through(reached, authority(host, port)) if tunnelled else reached

    async def _directly(self, host: str, port: int) -> Reached:
        found = await self._resolved(host)
        refused = [(address, words) for address in found if (words := self._refusal(address, port))]
        fine = [address for address in found if address not in dict(refused)]
        if not fine:
            address, words = refused[0]
            raise Unreachable(
                Verdict.DENIED,
                f"its address is {words}, and no rule of the profile names it on port {port}",
                str(address),
            )
        return await _race(fine, port)

    async def _resolved(self, host: str) -> Sequence[Address]:
        address = literal(host)
        if address is not None:
            return [address]
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT):
                return (await self._looked_up(host))[:MOST_ADDRESSES]
        except TimeoutError as error:
            raise Unreachable(Verdict.FAILED, "the name was looked up for too long", late=True) from error
        except UnknownName as error:
            raise Unreachable(Verdict.FAILED, str(error)) from error

    async def _looked_up(self, host: str) -> Sequence[Address]:
        await self._lookups.acquire()
        lookup = asyncio.ensure_future(self._resolver.addresses(host))
        # It counts as long as it keeps a thread busy, also when nobody waits for it any more.
        lookup.add_done_callback(self._answered)
        return await asyncio.shield(lookup)

    def _answered(self, lookup: asyncio.Future[tuple[Address, ...]]) -> None:
        self._lookups.release()
        if not lookup.cancelled():
            lookup.exception()

    def _refusal(self, address: Address, port: int) -> str:
        if self._rules.covering(address, port):
            return ""
        if address in self._pool:
            return "one of those that stand for names"
        return refusal(address) or ("of this machine" if _is_own(address) else "")


async def _through(reached: Reached, target: str) -> Reached:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            early = await tunnel(reached.socket, reached.parent or Parent("", 0), target)
    except (TunnelRefused, OSError) as error:
        sockets.discard(reached.socket)
        raise _tunnel_failure(error, reached.address) from error
    except BaseException:
        sockets.discard(reached.socket)
        raise
    return reached._replace(early=early)


def _tunnel_failure(error: TunnelRefused | OSError, address: str) -> Unreachable:
    if isinstance(error, TunnelRefused):
        return Unreachable(Verdict.FAILED, str(error), address)
    if isinstance(error, TimeoutError):
        return Unreachable(Verdict.FAILED, "the parent proxy did not answer in time", address, late=True)
    return Unreachable(Verdict.FAILED, f"the parent proxy broke the connection: {error.strerror or error}", address)


async def _race(addresses: Sequence[Address], port: int) -> Reached:
    """Connect to whichever address answers first, each tried a moment after the one before it."""
    running: dict[asyncio.Task[socket.socket], Address] = {}
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return await _first_of(_interleaved(addresses), port, running)
    except TimeoutError as error:
        address = str(next(iter(running.values()), addresses[0]))
        raise Unreachable(Verdict.FAILED, "the connection took too long", address, late=True) from error
    finally:
        for task in running:
            task.add_done_callback(_discard_late)
            task.cancel()


async def _first_of(
    addresses: Sequence[Address], port: int, running: dict[asyncio.Task[socket.socket], Address]
) -> Reached:
    waiting = list(addresses)
    failure: BaseException | None = None
    while waiting or running:
        if waiting:
            address = waiting.pop(0)
            running[asyncio.ensure_future(_connected(address, port))] = address
        delay = ATTEMPT_DELAY if waiting else None
        done, _ = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            address, failure = running.pop(task), task.exception()
            if failure is None:
                return Reached(task.result(), str(address))
    words = getattr(failure, "strerror", None) or str(failure)
    raise Unreachable(Verdict.FAILED, f"the connection failed: {words}", str(addresses[-1]))


async def _connected(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sockets.prepare(sock)
        await sockets.connect(sock, (str(address), port))
    except BaseException:
        sockets.discard(sock)
        raise
    return sock


def _discard_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        sockets.discard(task.result())


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Order by turns of the two families, beginning with that of the first."""
    first = [each for each in addresses if each.version == addresses[0].version]
    second = [each for each in addresses if each.version != addresses[0].version]
    return [each for each in chain.from_iterable(zip_longest(first, second)) if each is not None]


def _is_own(address: Address) -> bool:
    """Whether an address belongs to this machine: the way to it then begins at itself. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return str(probe.getsockname()[0]) == str(address)
    except OSError:
        return False
