"""One incarnation of a server: its pipe, its handshake, the calls in flight and the state that is reported.

A process is spoken to in one era: ``initialize`` comes first, and only a server that refuses it is asked what else it
speaks. Clients of the other era are translated for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from thv_core.model.egress import CallInFlight
from thv_core.model.message import Kind, Message
from thv_core.model.route import Route, RouteState
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.parsing import parse_line
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.greeting import introduced
from thv_gateway.pipes.modern_conversation import ModernConversation
from thv_gateway.pipes.modern_for_legacy import Guise
from thv_gateway.pipes.noise import Noise
from thv_gateway.pipes.pipe import MAX_LINE, Locked, Pipe, ServerAbsent
from thv_gateway.pipes.talk import Talk
from thv_gateway.servers.check import Check
from thv_gateway.servers.handshake import Handshake, Refused
from thv_gateway.servers.liveness import Heartbeat
from thv_gateway.servers.relisting import Relisting
from thv_gateway.servers.tools import list_tools
from thv_gateway.servers.upstream import Estate

__all__ = ["Link"]

ABSENT_SECONDS = 2.0
"""How long a server that was ready before may be missing before it counts as gone."""

_SWEEP_SECONDS = 0.5
MOST_PINGS = 4
"""So many pings wait for an answer at once."""

_PINGS = {
    Era.LEGACY: Message(kind=Kind.REQUEST, id=b"0", method="ping"),
    Era.MODERN: Message(kind=Kind.REQUEST, id=b"0", method="server/discover"),
}


class _PipeWire:
    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    @property
    def congested(self) -> bool:
        return self._pipe.congested

    def send(self, message: Message) -> None:
        self._pipe.write(assemble(message))


class Link:
    """The connection to one incarnation.

    ``state`` goes from starting to ready or failed, and from ready to gone or hung; never back. ``conversation`` is
    that of clients of the era of handshakes; ``modern`` is ``None`` unless the server is of the stateless era, which
    then wears a guise for ``conversation``.

    :param changed: called after each change of ``state`` or ``tools``.
    """

    def __init__(self, route: Route, estate: Estate, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.route = route
        self.state = RouteState.STARTING
        self.reason = ""
        self.tools: tuple[str, ...] = ()
        # Two lives may ask the same client something.
        self._prefix = f"{estate.prefix}-{route.incarnation.rpartition('.')[2]}"
        self._pipe = Pipe(self._line, self._ended, self._rest)
        self._wire = _PipeWire(self._pipe)
        self.conversation = Conversation(self._wire, estate, self._prefix, route.request_timeout)
        self.conversation.on_tools_changed = self._tools_changed
        self.modern: ModernConversation | None = None
        self._guise: Guise | None = None
        self._estate = estate
        self._changed = changed
        self._noise = Noise(loop.time)
        self._heartbeat = Heartbeat(route.workload, route.liveness, self, route.request_timeout, changed)
        self._pings: list[Call] = []
        self._obstacle = ""
        self._told: tuple[str, ...] = ()
        self._relisting = Relisting(self._relist, self._spawn)
        self._tasks: set[asyncio.Task[None]] = {loop.create_task(self._start()), loop.create_task(self._sweep())}

    @property
    def checked(self) -> Check | None:
        """The last ping that it answered."""
        return self._heartbeat.checked

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know."""
        return self._told + self._heartbeat.notes

    @property
    def eras(self) -> frozenset[Era]:
        """The one era in which it is spoken to."""
        return frozenset({self._talk.era})

    @property
    def handshake(self) -> Handshake:
        """What the server said of itself."""
        return self._talk.handshake

    @property
    def heard(self) -> float:
        """When the server last said something that is MCP, on the clock of the event loop."""
        return max(talk.heard for talk in self._talks)

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight."""
        return any(talk.at_work for talk in self._talks)

    async def ping(self) -> None:
        """Return as soon as the server has answered a ping; one that answers none is not flooded with them."""
        talk = self._talk
        self._pings = [call for call in self._pings if talk.calls.find(call.key) is call]
        if len(self._pings) < MOST_PINGS:
            call, outgoing = talk.begin(_PINGS[talk.era], None)
            self._pings.append(call)
            talk.send(outgoing)
        await self._pings[-1].mailbox.take()

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that the server has not answered."""
        return [call for talk in self._talks for call in talk.calls.named()]

    def end_streams(self) -> None:
        """End the streams of sessions; calls go on."""
        self._estate.sessions.close_streams()
        self._estate.listens.end()
        if self.modern is not None:
            self.modern.end_listens()

    def take_over(self) -> None:
        """Hear the server from now on, and tell it what sessions asked of a former life, once it is ready."""
        self.conversation.delivery.is_heard = True
        if self.state is RouteState.READY:
            self.conversation.repeat()

    def close(self, reason: str) -> None:
        """Let go of the server without disturbing it; calls in flight end with an error."""
        for task in self._tasks:
            task.cancel()
        self._pipe.close()
        self._fail(reason)

    @property
    def _talk(self) -> Conversation | ModernConversation:
        """What is said with the server itself."""
        return self.modern or self.conversation

    @property
    def _talks(self) -> Sequence[Talk]:
        return (self.conversation,) if self.modern is None else (self.conversation, self.modern)

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(self.route.start_timeout):
                await self._open()
                await self._greet()
            await self._learn_tools()
        except TimeoutError:
            silence = self._noise.explain(self.route.workload, self.route.start_timeout)
            self._settle(RouteState.FAILED, self._obstacle or silence)
        except ServerAbsent:
            self._settle(RouteState.GONE, f"{self.route.workload} is not running")
        except Refused as refused:
            self._settle(RouteState.FAILED, f"{self.route.workload} refused initialize: {refused}")
        else:
            self._settle(RouteState.READY, "")
            if self.conversation.delivery.is_heard:
                self.conversation.repeat()
            self._spawn(self._watch())

    async def _watch(self) -> None:
        if self.state is RouteState.READY:
            self._settle(RouteState.HUNG, await self._heartbeat.lost())

    async def _open(self) -> None:
        known = self._estate.handshakes.of(self.route.incarnation)
        pause, waited = 0.01, 0.0
        while True:
            try:
                self._pipe.open(self.route.stdin, self.route.stdout, self.route.lock)
                break
            except Locked:
                self._obstacle = f"another process reads the output of {self.route.workload}"
            except ServerAbsent:
                self._obstacle = f"{self.route.workload} is not running"
                if known is not None and waited > ABSENT_SECONDS:
                    raise
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 2, 0.5)
        self._obstacle = ""
        if known is not None:
            # Ends a line that a killed predecessor left half written; what it half read is skipped as noise.
            self._pipe.write(b"")

    async def _greet(self) -> None:
        name = self.route.incarnation
        handshake = self._estate.handshakes.of(name)
        if handshake is None:
            handshake = await introduced(self.conversation, name, self._hinder)
            self._estate.handshakes.keep(name, handshake)
        if Era.LEGACY not in handshake.eras:
            self._disguise(handshake)
        self._talk.handshake = handshake

    def _hinder(self, obstacle: str) -> None:
        """Take note of what its user is told if it never becomes ready.

        :raises ServerAbsent: when it has ended meanwhile.
        """
        if self.state is not RouteState.STARTING:
            raise ServerAbsent
        self._obstacle = f"{self.route.workload} {obstacle}"

    def _disguise(self, handshake: Handshake) -> None:
        """Speak to the server in the stateless era, and let clients of the other one speak to its guise."""
        timeout, delivery = self.route.request_timeout, self.conversation.delivery
        self.modern = ModernConversation(self._wire, self._estate, f"{self._prefix}m", timeout)
        self.modern.on_tools_changed = self._tools_changed
        self._guise = Guise.put_on(self.modern, self._estate, self._prefix, timeout)
        self.conversation = self._guise.conversation
        self.conversation.delivery.is_heard, self.conversation.delivery.only = delivery.is_heard, delivery.only
        self._guise.learn(handshake)

    async def _learn_tools(self) -> None:
        handshake = self.handshake
        if handshake.tools is None:
            handshake.tools = await list_tools(self._talk.ask) if handshake.offers("tools") else ()
            self._keep()
        self.tools = handshake.tools

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.route.request_timeout / 4))
            for talk in self._talks:
                talk.cancel_overdue()

    def _line(self, line: bytes) -> None:
        try:
            self._take(line)
        except Exception as error:
            # One line that we trip over must not cost the lines behind it.
            self._estate.log.write("internal", f"{type(error).__name__} while a line was delivered")

    def _rest(self) -> float:
        seconds = max(self._noise.rest(), *(talk.rest() for talk in self._talks))
        if self._noise.notes != self._told:
            self._told = self._noise.notes
            self._changed()
        return seconds

    def _take(self, line: bytes) -> None:
        message = parse_line(line)
        if message is None:
            self._noise.note(line)
            if line.strip():
                self._estate.log.write("noise", f"{len(line)} bytes on standard output that are not MCP")
            return
        if not self._talk.take(message):
            self._noise.in_vain(line)

    def _tools_changed(self) -> None:
        if self.state is RouteState.READY:
            self._relisting.changed()

    async def _relist(self) -> None:
        self.handshake.tools = self.tools = await list_tools(self._talk.ask)
        self._keep()
        self._changed()

    def _ended(self, word: str) -> None:
        name = self.route.workload
        too_long = f"{name} wrote a line of more than {MAX_LINE >> 20} MiB to standard output"
        reasons = {"closed": f"{name} ended", "line-too-long": too_long}
        ready = self.state is RouteState.READY and word == "closed"
        self._settle(RouteState.GONE if ready else RouteState.FAILED, reasons[word])
        self._fail(f"{name} is gone")

    def _settle(self, state: RouteState, reason: str) -> None:
        if self.state not in (RouteState.STARTING, RouteState.READY):
            return
        self.state = state
        self.reason = reason
        if state is not RouteState.READY:
            self._pipe.close()
            self._fail(reason)
        self._estate.log.write(state.value, reason or f"protocol {self.handshake.version}")
        self._changed()

    def _fail(self, reason: str) -> None:
        """End every call in flight with an error; that of a guise first, which has more to say of it."""
        if self._guise is not None:
            self._guise.close()
        for talk in self._talks:
            talk.fail(reason)

    def _keep(self) -> None:
        self._estate.handshakes.keep(self.route.incarnation, self.handshake)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
