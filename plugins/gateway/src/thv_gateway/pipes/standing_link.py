"""The own session of the gateway at a server of SSE: whether it is ready and alive, and what it said of itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Protocol

import msgspec

from thv_core.errors import InvalidRequest
from thv_core.model.egress import CallInFlight
from thv_core.model.route import Route, RouteState
from thv_gateway.client.connection import Broken
from thv_gateway.client.pool import Busy
from thv_gateway.client.remote import explained
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.greeting import INITIALIZED
from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.pipes.private_talk import PrivateTalk, PrivateWire
from thv_gateway.servers.check import Check
from thv_gateway.servers.handshake import Handshake, Refused, initialize_request
from thv_gateway.servers.liveness import Heartbeat
from thv_gateway.servers.relisting import Relisting
from thv_gateway.servers.tools import list_tools
from thv_gateway.servers.upstream import Estate

__all__ = ["StandingLink"]

ABSENT_SECONDS = 2.0
"""How long a server that was ready before may be out of reach before it counts as gone."""

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5
_LONGEST_AWAY = 30.0
_TROUBLE = (Broken, Busy, OSError, ServerAbsent, TimeoutError)


class Dialled(Protocol):
    """A server of SSE as it is reached."""

    async def ready(self, obstacle: Callable[[str], None]) -> None:
        """Return once it can be asked at all, and say what that waits for.

        :raises InvalidRequest: when it never can.
        """
        ...

    async def own(self) -> PrivateWire:
        """Open a wire for the gateway itself; it raises as :data:`thv_gateway.pipes.private_talk.Opening` does."""
        ...

    async def accepts(self) -> bool:
        """Tell whether it accepts a connection, or is too busy to say."""
        ...


class StandingLink:
    """The connection to one incarnation; see :class:`thv_gateway.servers.upstream.Upstream`.

    ``state`` goes from starting to ready or failed, and from ready to gone or hung; never back. A server that runs
    somewhere else is neither watched nor ever gone: it may be out of reach for a while.

    ``others`` returns the conversations of clients, which are signs of life as well.

    :param changed: called after each change of ``state``, ``tools`` or ``notes``.
    """

    def __init__(self, route: Route, estate: Estate, server: Dialled, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.route = route
        self.state = RouteState.STARTING
        self.reason = ""
        self.tools: tuple[str, ...] = ()
        self.at_work = False
        self.eras = frozenset({Era.LEGACY})
        self.handshake = Handshake(result=msgspec.Raw(b"{}"))
        self.others: Callable[[], Iterable[PrivateTalk]] = tuple
        self._estate = estate
        self._server = server
        self._changed = changed
        self._count = 0
        self._talk: PrivateTalk | None = None
        self._obstacle = ""
        self._suspected = False
        self._relisting = Relisting(self._relist, self._spawn)
        self._heartbeat = Heartbeat(route.workload, route.liveness, _Pinged(self), route.request_timeout, changed)
        self._tasks: set[asyncio.Task[None]] = {loop.create_task(self._start())}

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
        """When the server last said anything, on the clock of the event loop."""
        own = self._talk.conversation.heard if self._talk is not None else 0.0
        return max([own, *(talk.conversation.heard for talk in self.others())])

    async def ping(self) -> None:
        """Return as soon as the server has answered a ping, whatever it answered."""
        if self._talk is None:
            raise Broken("has ended the session of the gateway")
        await self._talk.conversation.ask("ping", {})

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return nothing: clients have their own conversations."""
        return ()

    def end_streams(self) -> None:
        """End the streams of sessions; calls go on."""
        self._estate.sessions.close_streams()

    def close(self, reason: str) -> None:
        """Let go of the server."""
        for task in self._tasks:
            task.cancel()
        if self._talk is not None:
            self._talk.close(reason)

    def suspect(self) -> None:
        """Find out whether the server still lets the gateway in; it is gone when it does not for a while."""
        if self.state is RouteState.READY and not self._suspected and not self.route.target_url:
            self._suspected = True
            self._spawn(self._look())

    async def _start(self) -> None:
        name, known = self.route.workload, self._estate.handshakes.of(self.route.incarnation)
        seconds = self.route.start_timeout if known is None else min(ABSENT_SECONDS, self.route.start_timeout)
        try:
            # What control has to hand over first is no silence of the server.
            await self._server.ready(self._hinder)
            async with asyncio.timeout(seconds):
                await self._met()
        except TimeoutError:
            state = RouteState.FAILED if known is None else RouteState.GONE
            self._settle(state, self._obstacle or f"{name} sent no events within {seconds:g} s")
        except Refused as refused:
            self._settle(RouteState.FAILED, f"{name} refused initialize: {refused}")
        except InvalidRequest as error:
            self._settle(RouteState.FAILED, f"{name} cannot be reached: {error.message}")
        else:
            self._settle(RouteState.READY, "")
            if not self.route.target_url:
                self._settle(RouteState.HUNG, await self._heartbeat.lost())

    async def _met(self) -> None:
        """Try until the server answers; who calls bounds the time."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._greet()
            except _TROUBLE as error:
                self._obstacle = f"{self.route.workload} {_why(error)}"
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _greet(self) -> None:
        wire = await self._server.own()
        self._count += 1
        prefix = f"{self._estate.prefix}-{self.route.incarnation.rpartition('.')[2]}-own{self._count}"
        talk = PrivateTalk(wire, self._estate, prefix, self.route.request_timeout)
        try:
            request = initialize_request(self.route.incarnation)
            # Nobody reads what the server might ask in this session.
            await self._introduced(talk, {**request.params, "capabilities": b"{}"})
        except BaseException:
            talk.close("the gateway was not let in")
            raise
        self._talk = talk
        self._spawn(self._stay(talk))

    async def _introduced(self, talk: PrivateTalk, params: dict[str, bytes]) -> None:
        response = await talk.introduce(params)
        if response.error:
            raise Refused("it does not initialize a session of the gateway")
        talk.conversation.send(INITIALIZED)
        handshake = talk.handshake
        handshake.tools = await list_tools(talk.conversation.ask) if handshake.offers("tools") else ()
        handshake.stateful = True
        talk.conversation.on_tools_changed = self._tools_changed
        self._known(handshake)

    async def _stay(self, talk: PrivateTalk) -> None:
        """Open the session anew when the server has ended it."""
        await talk.ended.wait()
        self._talk = None
        talk.close("it has ended")
        if self.route.target_url:
            await self._come_back()
        else:
            self.suspect()

    async def _come_back(self) -> None:
        """Open the session anew, however long that takes; meanwhile the server answers no ping.

        One that is not somewhere else may be about to end, and still have accepted a last connection.
        """
        pause = _FIRST_PAUSE
        while self.state is RouteState.READY and self._talk is None:
            with contextlib.suppress(*_TROUBLE, Refused):
                await self._greet()
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_AWAY)
            if not (self.route.target_url or await self._accepts()):
                self._go()

    async def _look(self) -> None:
        if await self._accepts():
            await self._come_back()
        else:
            self._go()
        self._suspected = False

    def _go(self) -> None:
        self._settle(RouteState.GONE, f"{self.route.workload} accepts no connections any more")

    async def _accepts(self) -> bool:
        pause, waited = _FIRST_PAUSE, 0.0
        while not await self._server.accepts():
            if waited > ABSENT_SECONDS:
                return False
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 2, _LONGEST_PAUSE)
        return True

    def _hinder(self, obstacle: str) -> None:
        """Take note of what keeps the server from being asked."""
        self.reason = obstacle
        self._changed()

    def _known(self, handshake: Handshake) -> None:
        self.handshake = handshake
        self.tools = handshake.tools or ()
        self._obstacle = ""
        self._estate.handshakes.keep(self.route.incarnation, handshake)
        self._changed()

    def _tools_changed(self) -> None:
        if self.state is RouteState.READY:
            self._relisting.changed()

    async def _relist(self) -> None:
        if self._talk is not None:
            self.handshake.tools = await list_tools(self._talk.conversation.ask)
            self._known(self.handshake)

    def _settle(self, state: RouteState, reason: str) -> None:
        if self.state not in (RouteState.STARTING, RouteState.READY):
            return
        self.state = state
        self.reason = reason
        if state is not RouteState.READY and self._talk is not None:
            self._talk.close(reason)
        self._estate.log.write(state.value, reason or f"protocol {self.handshake.version}")
        self._changed()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Pinged:
    """The server as its heartbeat sees it: what keeps it busy are the conversations of clients."""

    def __init__(self, link: StandingLink) -> None:
        self._link = link

    @property
    def heard(self) -> float:
        return self._link.heard

    @property
    def at_work(self) -> bool:
        return any(talk.at_work for talk in self._link.others())

    async def ping(self) -> None:
        await self._link.ping()


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return explained(error)
    return str(error) or ("takes no more connections" if isinstance(error, Busy) else "did not answer in time")
