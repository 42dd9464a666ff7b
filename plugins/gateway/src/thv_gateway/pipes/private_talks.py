"""The private conversations with one incarnation: opened when they are needed, bounded, ended when they are idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass

from thv_core.model.message import Kind, Message
from thv_core.model.route import RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.client.connection import Broken
from thv_gateway.client.pool import Busy
from thv_gateway.client.remote import explained
from thv_gateway.messages.answers import INTERNAL_ERROR, refusal
from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.pipes.private_talk import Opening, Party, PrivateTalk
from thv_gateway.servers.handshake import Refused
from thv_gateway.servers.upstream import Estate
from thv_gateway.web.reception import RETRY

__all__ = ["OPEN_SECONDS", "PrivateTalks", "Sizes", "addressed"]

OPEN_SECONDS = 10.0
"""So long a client waits for its conversation to be opened, and as long again for the server to be initialised."""

_SWEEP_SECONDS = 0.5


@dataclass(frozen=True)
class Sizes:
    """How many conversations there may be now; seconds of silence of a call, and of idleness of a conversation."""

    most: Callable[[], int]
    timeout: float
    idle: float


class PrivateTalks:
    """The conversations by the name of the party.

    :param workload: begins sentences about the server.
    :param prefix: begins the ids of the gateway in all of them.
    """

    def __init__(self, workload: str, prefix: str, opening: Opening, estate: Estate, sizes: Sizes) -> None:
        self._workload = workload
        self._prefix = prefix
        self._opening = opening
        self._estate = estate
        self.sizes = sizes
        self._clock = asyncio.get_running_loop().time
        self._talks: dict[str, PrivateTalk] = {}
        self._openings: dict[str, asyncio.Task[PrivateTalk | Reply]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._closed = ""
        self.on_end: Callable[[str], None] = _nothing
        self._sweeping = False

    def __iter__(self) -> Iterator[PrivateTalk]:
        return iter(list(self._talks.values()))

    def __len__(self) -> int:
        """How many there are, or are being opened."""
        return len(self._talks) + len(self._openings)

    def find(self, name: str) -> PrivateTalk | None:
        """Return a conversation that goes on."""
        talk = self._talks.get(name)
        return talk if talk is not None and talk.state is RouteState.READY else None

    async def introduced(self, party: Party) -> tuple[PrivateTalk, Message] | Reply:
        """Open a conversation and let the client itself introduce it; return the server's response as well."""
        refused = self._room(party.name)
        if refused is not None:
            return refused
        # It takes its place before the first await, so that no more are opened at once than there may be.
        opened = asyncio.get_running_loop().create_task(self._opened(party))
        self._openings[party.name] = opened
        try:
            talk = await opened
            if isinstance(talk, Reply):
                return talk
            return await self._greeted(talk, party)
        finally:
            self._openings.pop(party.name, None)

    async def of(self, party: Party) -> PrivateTalk | Reply:
        """Return the conversation of a party; one that has ended is opened anew, once for all who ask for it."""
        talk = self.find(party.name)
        if talk is not None:
            talk.touch(party.fields)
            return talk
        opening = self._openings.get(party.name)
        if opening is None:
            refused = self._room(party.name)
            if refused is not None:
                return refused
            opening = asyncio.get_running_loop().create_task(self._reopened(party))
            self._openings[party.name] = opening
            opening.add_done_callback(lambda _: self._openings.pop(party.name, None))
        return await asyncio.shield(opening)

    def end(self, name: str, reason: str) -> None:
        """End the conversation of a party, if there is one."""
        talk = self._talks.pop(name, None)
        self.on_end(name)
        if talk is not None:
            self._spawn(_left(talk, reason))

    def recede(self) -> None:
        """End those that nobody waits for anything of."""
        for name, talk in list(self._talks.items()):
            if not talk.conversation.at_work:
                self.end(name, f"{self._workload} was exchanged")

    def close(self, reason: str) -> None:
        """End all of them at once, and open no more."""
        self._closed = reason
        for task in (*self._openings.values(), *self._tasks):
            task.cancel()
        for talk in self._talks.values():
            talk.close(reason)
        self._talks.clear()

    def _room(self, name: str) -> Reply | None:
        """Make room for one more by ending the one that is idle longest; a reply says that there is none."""
        if self._closed:
            return self._refused(503, self._closed)
        others = {each: talk for each, talk in self._talks.items() if each != name}
        if len(others) + len(self._openings) < self.sizes.most():
            return None
        idle = [each for each, talk in others.items() if talk.idle]
        if not idle:
            return self._refused(503, f"{self._workload} serves as many clients as it may")
        self.end(min(idle, key=lambda each: others[each].used), "another client needs its place")
        return None

    async def _reopened(self, party: Party) -> PrivateTalk | Reply:
        talk = await self._opened(party)
        if isinstance(talk, Reply):
            return talk
        greeted = await self._greeted(talk, party)
        if isinstance(greeted, Reply):
            return greeted
        talk, response = greeted
        if response.error:
            self.end(party.name, "it was refused")
            return self._refused(502, f"{self._workload} refused initialize")
        talk.go_on()
        return talk

    async def _opened(self, party: Party) -> PrivateTalk | Reply:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                wire = await self._opening(party)
        except (Broken, Busy, OSError, Refused, ServerAbsent, TimeoutError) as error:
            self.on_end(party.name)
            return self._unreachable(error)
        self._count += 1
        talk = PrivateTalk(wire, self._estate, f"{self._prefix}.{self._count}", self.sizes.timeout, party.session)
        talk.party = party
        former = self._talks.pop(party.name, None)
        if former is not None:
            former.close("it was opened anew")
        self._talks[party.name] = talk
        if not self._sweeping:
            self._sweeping = True
            self._spawn(self._sweep())
        return talk

    async def _greeted(self, talk: PrivateTalk, party: Party) -> tuple[PrivateTalk, Message] | Reply:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                response = await talk.introduce(party.params)
        except (Refused, ServerAbsent, TimeoutError) as error:
            self.end(party.name, "it did not initialize")
            return self._unreachable(error)
        return talk, response

    async def _sweep(self) -> None:
        while self._talks:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.sizes.timeout / 4))
            now = self._clock()
            for name, talk in list(self._talks.items()):
                talk.conversation.cancel_overdue()
                if not talk.idle:
                    talk.touch()
                elif talk.state is not RouteState.READY or now - talk.used > self.sizes.idle:
                    self.end(name, "it was idle for too long")
        self._sweeping = False

    def _unreachable(self, error: Exception) -> Reply:
        if isinstance(error, Refused):
            return self._refused(502, f"{self._workload} refused a session: {error}")
        why = explained(error) if isinstance(error, OSError) and not isinstance(error, TimeoutError) else str(error)
        return self._refused(503, f"{self._workload} {why or 'did not open a session in time'}")

    def _refused(self, status: int, text: str) -> Reply:
        return refusal(status, INTERNAL_ERROR, text, headers=RETRY if status == 503 else ())

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _left(talk: PrivateTalk, reason: str) -> None:
    try:
        await talk.leave(reason)
    finally:
        talk.close(reason)


def _nothing(_: str) -> None:
    """Tell nobody."""


def addressed(reply: Reply, message: Message | None) -> Reply:
    """Return a refusal with the id of the request that is refused."""
    if message is None or message.kind is not Kind.REQUEST:
        return reply
    body = b'{"jsonrpc":"2.0","id":' + message.id + b"," + reply.body.partition(b",")[2]
    return Reply(reply.status, body, reply.headers)
