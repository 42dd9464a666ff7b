"""One incarnation of a server that speaks HTTP: its readiness, what it said of itself, and the way to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine, Sequence

from thv_core.errors import InvalidRequest
from thv_core.model.egress import CallInFlight
from thv_core.model.message import Message
from thv_core.model.route import Route, RouteState
from thv_gateway.client.connection import Broken
from thv_gateway.client.connectors import Connectors
from thv_gateway.client.http_client import HttpClient, Place, field_lines
from thv_gateway.client.pool import Busy, Pool
from thv_gateway.client.remote import Remote, explained, place_of
from thv_gateway.messages.versions import Era
from thv_gateway.relays.flights import Flight, Flights
from thv_gateway.relays.heads import EVENTS_HEAD, POST_HEAD, Fields, added
from thv_gateway.relays.probe import Interview, Unauthorized
from thv_gateway.servers.check import Check
from thv_gateway.servers.handshake import Handshake, Refused
from thv_gateway.servers.liveness import Heartbeat
from thv_gateway.servers.relisting import Relisting
from thv_gateway.servers.upstream import Estate

__all__ = ["RelayLink"]

ABSENT_SECONDS = 2.0
"""How long a server that was ready before may refuse connections before it counts as gone."""

_SWEEP_SECONDS = 0.5
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5
_PASSED = frozenset({b"last-event-id"})
_AUTHORIZATION = frozenset({b"authorization", b"www-authenticate"})


class RelayLink:
    """The connection to one incarnation; see :class:`thv_gateway.servers.upstream.Upstream`.

    A server that runs somewhere else is neither watched nor ever gone: it may be out of reach for a while, and nobody
    here could start it anew. ``passed`` are the names of header fields that are handed on beside those of MCP,
    ``added`` the fields that each request carries, ``heads`` by method what every head of a client's request begins
    with. ``unsupplied`` says which of them cannot be had, if one cannot: then
    nothing is asked of the server. ``eras`` is empty as long as nobody knows.

    :param changed: called after each change of ``state`` or ``tools``.
    """

    def __init__(self, route: Route, estate: Estate, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.route = route
        self.state = RouteState.STARTING
        self.reason = ""
        self.tools: tuple[str, ...] = ()
        self.eras: frozenset[Era] = frozenset()
        self.added: Fields = ()
        self.heads: dict[str, bytes] = {}
        self.unsupplied = ""
        own = {header.name.lower().encode() for header in route.forward_headers}
        self.passed = (_PASSED | _AUTHORIZATION if route.forward_authorization else _PASSED) - own
        self.handshake = Handshake()
        self.flights = Flights(route.request_timeout, loop.time)
        self.pool = Pool(Connectors(()))
        self.client = HttpClient(self.pool, Place.inside(route.target_port))
        self._estate = estate
        self._changed = changed
        self._heartbeat = Heartbeat(route.workload, route.liveness, self, route.request_timeout, changed)
        self._interview = Interview(self.client, self._hear)
        self._supplied = asyncio.Event()
        self._supply()
        self._unwatch = estate.values.watch(self._supply)
        self._obstacle = ""
        self._suspected = False
        self._relisting = Relisting(self._relist, self._spawn)
        self._tasks: set[asyncio.Task[None]] = {loop.create_task(self._start()), loop.create_task(self._sweep())}

    @property
    def checked(self) -> Check | None:
        """The last ping that it answered."""
        return self._heartbeat.checked

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know."""
        return self._heartbeat.notes

    @property
    def heard(self) -> float:
        """When the server last answered anything, on the clock of the event loop."""
        return self.flights.heard

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight."""
        return any(not flight.is_stream for flight in self.flights)

    async def ping(self) -> None:
        """Return as soon as the server has answered a ping, whatever it answered; see ``servers.liveness``."""
        try:
            await self._interview.ping(self.route.incarnation, self.eras)
        except Refused:
            return
        except ConnectionRefusedError:
            self.suspect()
            raise

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that the server has not answered."""
        return self.flights.named()

    def end_streams(self) -> None:
        """End the streams of what the server says by itself; calls go on."""
        for flight in self.flights.streams():
            flight.give_up("drained", "The gateway is being restarted")

    def close(self, reason: str) -> None:
        """Let go of the server without disturbing it; calls in flight end with an error."""
        self._unwatch()
        for task in self._tasks:
            task.cancel()
        self._give_up(reason)
        if self.route.target_url:
            self.pool.close()

    def keeps_sessions(self) -> None:
        """Take note that the server keeps sessions of its own."""
        if not self.handshake.stateful:
            self.handshake.stateful = True
            self._estate.handshakes.keep(self.route.incarnation, self.handshake)
            self._changed()

    def suspect(self) -> None:
        """Find out whether the server still accepts connections; it is gone when it does not for a while."""
        if self.state is RouteState.READY and not self._suspected and not self.route.target_url:
            self._suspected = True
            self._spawn(self._look())

    def tools_changed(self) -> None:
        """List the tools again."""
        if self.state is RouteState.READY:
            self._relisting.changed()

    def finish(self, flight: Flight) -> None:
        """End an exchange: its connection goes back, and nobody watches its client any more."""
        self.flights.end(flight)
        self.client.release(flight)
        flight.unwatch()

    def park(self, flight: Flight) -> None:
        """Let go of an exchange that the server goes on with."""
        self.flights.park(flight)
        self.client.release(flight)
        flight.unwatch()

    def note(self, event: str, detail: str) -> None:
        """Write a line to the proxy log."""
        self._estate.log.write(event, detail)

    def _supply(self) -> None:
        """Make the fields that each request carries from what is known of their values now."""
        headers = self.route.forward_headers
        secrets = [header.secret for header in headers if header.secret]
        values = self._estate.values.of(secrets)
        missing = [name for name in secrets if name not in values]
        try:
            self.added = () if missing else added(headers, values)
            self.unsupplied = f"{self.route.workload} waits for the value of the secret {missing[0]}" if missing else ""
        except InvalidRequest as error:
            self.unsupplied = f"{self.route.workload} is not asked: {error.message}"
        heads = {"POST": POST_HEAD, "GET": EVENTS_HEAD, "DELETE": ()}
        self.heads = {method: field_lines((*own, *self.added)) for method, own in heads.items()}
        self._interview = Interview(self.client, self._hear, self.added)
        if not self.unsupplied:
            self._supplied.set()

    async def _until_supplied(self) -> None:
        if self.unsupplied:
            self.reason = self.unsupplied
            self._changed()
            await self._supplied.wait()
            self.reason = ""

    async def _start(self) -> None:
        await self._until_supplied()
        try:
            self.pool, place = await self._way()
        except (InvalidRequest, OSError) as error:
            self._settle(RouteState.FAILED, f"{self.route.workload} cannot be reached: {error}")
            return
        self.pool.on_loss = self.suspect
        self.client = HttpClient(self.pool, place)
        self._interview = Interview(self.client, self._hear, self.added)
        stored = self._estate.handshakes.of(self.route.incarnation)
        if stored is None:
            await self._meet()
        elif self.route.target_url or await self._accepts(ABSENT_SECONDS):
            self._known(stored)
            self._settle(RouteState.READY, "")
        else:
            self._settle(RouteState.GONE, self._gone)
        if self.state is RouteState.READY and not self.route.target_url:
            self._spawn(self._watch())

    async def _way(self) -> tuple[Pool, Place]:
        route, outlets = self.route, self._estate.outlets
        if route.target_url:
            return Pool(await Remote.of(route.target_url, outlets.trust)), place_of(route.target_url)
        return await outlets.way_in(route.incarnation), Place.inside(route.target_port)

    async def _watch(self) -> None:
        self._settle(RouteState.HUNG, await self._heartbeat.lost())

    def _hear(self) -> None:
        self.flights.heard = asyncio.get_running_loop().time()

    async def _meet(self) -> None:
        name, seconds = self.route.workload, self.route.start_timeout
        self._obstacle = (
            f"nothing listens on port {self.route.target_port} in the server's own network;"
            " it may be told by PORT or its arguments"
        )
        try:
            async with asyncio.timeout(seconds):
                handshake = await self._greeted()
            self._known(handshake)
            self._estate.handshakes.keep(self.route.incarnation, handshake)
        except TimeoutError:
            self._settle(RouteState.FAILED, self._obstacle)
        except Refused as refused:
            self._settle(RouteState.FAILED, f"{name} refused initialize: {refused}")
        except ssl.SSLCertVerificationError as error:
            self._settle(RouteState.FAILED, f"{name} {explained(error)}")
        else:
            self._settle(RouteState.READY, "")

    async def _greeted(self) -> Handshake:
        """Try until the server answers; who calls bounds the time."""
        pause = _FIRST_PAUSE
        while (handshake := await self._attempt()) is None:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return handshake

    async def _attempt(self) -> Handshake | None:
        route = self.route
        if not (route.target_url or await self.client.accepts()):
            return None
        where = "" if route.target_url else f" on port {route.target_port}"
        self._obstacle = f"{route.workload} did not answer initialize{where} within {route.start_timeout:g} s"
        try:
            return await Interview(self.client, fields=self.added).handshake(route.incarnation)
        except Unauthorized:
            if not route.forward_authorization:
                raise
            # Its clients authorize themselves, and learn from it how.
            return self.handshake
        except ssl.SSLCertVerificationError:
            raise
        except (Broken, Busy, OSError) as error:
            self._obstacle = f"{route.workload} {_why(error)}"
        return None

    def _known(self, handshake: Handshake) -> None:
        self.handshake = handshake
        self.eras = frozenset(handshake.eras)
        self.tools = handshake.tools or ()

    async def _accepts(self, seconds: float) -> bool:
        pause, waited = _FIRST_PAUSE, 0.0
        while not await self.client.accepts():
            if waited > seconds:
                return False
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 2, _LONGEST_PAUSE)
        return True

    async def _look(self) -> None:
        accepts = await self._accepts(ABSENT_SECONDS)
        self._suspected = False
        if not accepts:
            self._settle(RouteState.GONE, self._gone)

    @property
    def _gone(self) -> str:
        return f"{self.route.workload} accepts no connections on port {self.route.target_port} any more"

    async def _relist(self) -> None:
        with contextlib.suppress(Broken, Busy, OSError, Refused, TimeoutError):
            async with asyncio.timeout(self.route.start_timeout):
                self._known(await Interview(self.client, fields=self.added).handshake(self.route.incarnation))
            self._estate.handshakes.keep(self.route.incarnation, self.handshake)
            self._changed()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.route.request_timeout / 4))
            for flight in self.flights.give_up_overdue():
                asked: Message | None = flight.arrival.message
                what = asked.method or "a response" if asked else flight.arrival.method
                self.note("timeout", f"no answer to {what} in {self.route.request_timeout:g} s")

    def _settle(self, state: RouteState, reason: str) -> None:
        if self.state not in (RouteState.STARTING, RouteState.READY):
            return
        self.state = state
        self.reason = reason
        if state is not RouteState.READY:
            self._give_up(reason)
        self.note(state.value, reason or f"protocol {self.handshake.version}")
        self._changed()

    def _give_up(self, reason: str) -> None:
        for flight in self.flights:
            flight.give_up("gone", reason)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return explained(error)
    return f"{error} when it was asked to initialize" if isinstance(error, Broken) else "takes no more connections"
