"""One incarnation of a server: its pipe, its handshake, the calls in flight and the state that is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import msgspec

from thv_core.model.egress import CallInFlight
from thv_core.model.message import Kind, Message
from thv_core.model.route import Route, RouteState
from thv_gateway.assembly import assemble, quoted
from thv_gateway.correlation import Call, Calls
from thv_gateway.delivery import Delivery
from thv_gateway.handshake import Handshake, Refused, handshake_of, initialize_request
from thv_gateway.liveness import Heartbeat
from thv_gateway.noise import Noise
from thv_gateway.parsing import parse_line
from thv_gateway.pipe import MAX_LINE, Locked, Pipe, ServerAbsent
from thv_gateway.subscriptions import Subscriptions
from thv_gateway.tools import list_tools
from thv_gateway.upstream import Estate

__all__ = ["Link"]

ABSENT_SECONDS = 2.0
"""How long a server that was ready before may be missing before it counts as gone."""

_SWEEP_SECONDS = 0.5
MOST_PINGS = 4
"""So many pings wait for an answer at once."""

_PING = Message(kind=Kind.REQUEST, id=b"0", method="ping")
_INITIALIZED = Message(kind=Kind.NOTIFICATION, method="notifications/initialized")


class Link:
    """The connection to one incarnation.

    ``state`` goes from starting to ready or failed, and from ready to gone or hung; never back. ``heard`` is when the
    server last said something that is MCP, on the clock of the event loop.

    :param changed: called after each change of ``state`` or ``tools``.
    """

    def __init__(self, route: Route, estate: Estate, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.route = route
        self.state = RouteState.STARTING
        self.reason = ""
        self.tools: tuple[str, ...] = ()
        self.handshake = Handshake(result=msgspec.Raw(b"{}"))
        # Two lives may ask the same client something.
        prefix = f"{estate.prefix}-{route.incarnation.rpartition('.')[2]}"
        self.calls = Calls(prefix, route.request_timeout, loop.time)
        self.delivery = Delivery(self.calls, estate.sessions, self.send, self._lost)
        self.subscriptions = Subscriptions(estate.recollection.subscriptions, estate.remember)
        self._clock = loop.time
        self._estate = estate
        self._changed = changed
        self._noise = Noise(loop.time)
        self._heartbeat = Heartbeat(route.workload, route.liveness, self, route.request_timeout, changed)
        self._pings: list[Call] = []
        self.heard = 0.0
        self._pipe = Pipe(self._line, self._ended, self._rest)
        self._obstacle = ""
        self._lost_messages = 0
        self._told: tuple[str, ...] = ()
        self._stale = self._relisting = False
        self._tasks: set[asyncio.Task[None]] = {loop.create_task(self._start()), loop.create_task(self._sweep())}

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know."""
        return self._told + self._heartbeat.notes

    @property
    def congested(self) -> bool:
        """Whether a new call has to be refused for now."""
        return self.calls.full or self._pipe.congested

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight."""
        return any(call.session is not None for call in self.calls)

    async def ping(self) -> None:
        """Return as soon as the server has answered a ping; one that answers none is not flooded with them."""
        self._pings = [call for call in self._pings if self.calls.find(call.key) is call]
        if len(self._pings) < MOST_PINGS:
            call, outgoing = self.calls.begin(_PING, None)
            self._pings.append(call)
            self.send(outgoing)
        await self._pings[-1].mailbox.take()

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that the server has not answered."""
        return self.calls.named()

    def end_streams(self) -> None:
        """End the streams of sessions; calls go on."""
        self._estate.sessions.close_streams()

    def send(self, message: Message) -> None:
        """Send one message to the server."""
        self._pipe.write(assemble(message))

    async def ask(self, method: str, params: dict[str, bytes]) -> Message:
        """Send a request of the gateway's own and return the response."""
        request = Message(kind=Kind.REQUEST, id=b"0", method=method, params=params, has_params=bool(params))
        call, outgoing = self.calls.begin(request, None)
        return await self._exchange(call, outgoing)

    def tell_cancelled(self, call: Call, reason: bytes = b"") -> None:
        """Tell the server that nobody waits for the answer to a call any more."""
        params = {"requestId": call.key, **({"reason": reason} if reason else {})}
        self.send(Message(kind=Kind.NOTIFICATION, method="notifications/cancelled", params=params, has_params=True))

    def take_over(self) -> None:
        """Hear the server from now on, and tell it what sessions asked of a former life, once it is ready."""
        self.delivery.is_heard = True
        if self.state is RouteState.READY:
            self._repeat()

    def _repeat(self) -> None:
        recollection = self._estate.recollection
        level = recollection.most_verbose()
        if level and self.handshake.offers("logging"):
            self._mention("logging/setLevel", {"level": quoted(level)})
        for uri in {uri for uris in recollection.subscriptions.values() for uri in uris}:
            self._mention("resources/subscribe", {"uri": quoted(uri)})

    def end_session(self, session: str) -> None:
        """Unsubscribe from what only this session had subscribed to, and log no more than the others want."""
        for uri in self.subscriptions.end(session):
            self._mention("resources/unsubscribe", {"uri": quoted(uri)})
        recollection = self._estate.recollection
        level, before = recollection.most_verbose(besides=session), recollection.most_verbose()
        if level and level != before:
            self._mention("logging/setLevel", {"level": quoted(level)})

    def close(self, reason: str) -> None:
        """Let go of the server without disturbing it; calls in flight end with an error."""
        for task in self._tasks:
            task.cancel()
        self._pipe.close()
        self.delivery.forget()
        self.calls.fail_all(502, reason, "gone")

    def _mention(self, method: str, params: dict[str, bytes]) -> None:
        """Send a request whose answer nobody waits for: it is dropped with its id."""
        identifier = self.calls.fresh_id()
        self.send(Message(kind=Kind.REQUEST, id=identifier, method=method, params=params, has_params=True))

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
            if self.delivery.is_heard:
                self._repeat()
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
        stored = self._estate.handshakes.of(name)
        if stored is None:
            request = initialize_request(name)
            call, outgoing = self.calls.begin(request, None, request.id)
            response = await self._exchange(call, outgoing)
            stored = handshake_of(response)
            self.send(_INITIALIZED)
            self._estate.handshakes.keep(name, stored)
        self.handshake = stored

    async def _learn_tools(self) -> None:
        handshake = self.handshake
        if handshake.tools is None:
            handshake.tools = await list_tools(self.ask) if handshake.offers("tools") else ()
            self._keep()
        self.tools = handshake.tools

    async def _exchange(self, call: Call, outgoing: Message) -> Message:
        self.send(outgoing)
        try:
            response = await call.mailbox.take()
        finally:
            self.calls.end(call)
        if response is None:
            raise ServerAbsent(self.route.workload)
        return response

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.route.request_timeout / 4))
            for call in self.calls.overdue():
                self._estate.log.write("timeout", f"no answer to {call.method} in {self.route.request_timeout:g} s")
                self.tell_cancelled(call)

    def _line(self, line: bytes) -> None:
        lost = self._lost_messages
        try:
            self._take(line)
            if self._lost_messages != lost:
                self._noise.in_vain(line)
        except Exception as error:
            # One line that we trip over must not cost the lines behind it.
            self._estate.log.write("internal", f"{type(error).__name__} while a line was delivered")

    def _rest(self) -> float:
        seconds = self._noise.rest()
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
        self.heard = self._clock()
        if message.kind is Kind.RESPONSE:
            self._response(message)
        elif message.kind is Kind.REQUEST:
            self.delivery.request(message)
        else:
            self.delivery.notification(message, self.subscriptions)
            if message.method == "notifications/tools/list_changed":
                self._tools_changed()

    def _response(self, message: Message) -> None:
        call = self.calls.answered(message)
        if call is None:
            self._lost_messages += 1
        if call is None or call.session is None or not message.result:
            return
        if call.method == "resources/subscribe":
            self.subscriptions.add(call.session.id, call.name)
        elif call.method == "resources/unsubscribe":
            self.subscriptions.remove(call.session.id, call.name)
        elif call.method == "logging/setLevel":
            self._estate.recollection.want_level(call.session.id, call.name)
            self._estate.remember()

    def _tools_changed(self) -> None:
        # A server may say so much faster than it answers: one list at a time, and one more afterwards.
        self._stale = True
        if not self._relisting and self.state is RouteState.READY:
            self._relisting = True
            self._spawn(self._relist())

    async def _relist(self) -> None:
        while self._stale:
            self._stale = False
            self.handshake.tools = self.tools = await list_tools(self.ask)
            self._keep()
            self._changed()
        self._relisting = False

    def _ended(self, word: str) -> None:
        name = self.route.workload
        too_long = f"{name} wrote a line of more than {MAX_LINE >> 20} MiB to standard output"
        reasons = {"closed": f"{name} ended", "line-too-long": too_long}
        ready = self.state is RouteState.READY and word == "closed"
        self._settle(RouteState.GONE if ready else RouteState.FAILED, reasons[word])
        self.delivery.forget()
        self.calls.fail_all(502, f"{name} is gone", "gone")

    def _settle(self, state: RouteState, reason: str) -> None:
        if self.state not in (RouteState.STARTING, RouteState.READY):
            return
        self.state = state
        self.reason = reason
        if state is not RouteState.READY:
            self._pipe.close()
            self.calls.fail_all(502, reason, "gone")
        self._estate.log.write(state.value, reason or f"protocol {self.handshake.version}")
        self._changed()

    def _keep(self) -> None:
        self._estate.handshakes.keep(self.route.incarnation, self.handshake)

    def _lost(self, what: str) -> None:
        self._lost_messages += 1
        self._estate.log.write("undelivered", what)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
