"""What happens at ``/mcp`` when each session has a conversation of its own with the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from thv_core.model.egress import CallInFlight
from thv_core.model.message import Kind, Message
from thv_core.model.route import RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, JSON, SESSION_NOT_FOUND, accepted, refusal
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.messages.versions import Era, negotiated
from thv_gateway.pipes.endpoint import PipeEndpoint
from thv_gateway.pipes.private_talk import Party, PrivateTalk, introduction
from thv_gateway.pipes.private_talks import PrivateTalks, addressed
from thv_gateway.servers.check import Check
from thv_gateway.servers.handshake import Handshake
from thv_gateway.servers.upstream import Estate, Flow, Upstream
from thv_gateway.sessions.memory import Stay
from thv_gateway.sessions.sessions import Session, abilities
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.reception import RETRY
from thv_gateway.wires.way import Fields, nobody

__all__ = ["PrivateEndpoint", "PrivateLink"]

_OWN = frozenset({"notifications/initialized", "notifications/cancelled"})


class PrivateLink:
    """An incarnation with private conversations; see :class:`thv_gateway.servers.upstream.Upstream`.

    :param own: the gateway's own connection to the server, which says whether it is ready.
    :param beside: other conversations with the server.
    :param closed: called when it is closed.
    """

    def __init__(
        self,
        own: Upstream,
        talks: PrivateTalks,
        beside: Sequence[Upstream] = (),
        closed: Callable[[], None] = nobody,
    ) -> None:
        self._all = (own, *beside)
        self._closed = closed
        self.own = own
        self.talks = talks

    @property
    def state(self) -> RouteState:
        """How far it is."""
        return self.own.state

    @property
    def reason(self) -> str:
        """Why it failed or is gone."""
        return self.own.reason

    @property
    def eras(self) -> frozenset[Era]:
        """The eras that it speaks."""
        return self.own.eras

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of its tools."""
        return self.own.tools

    @property
    def checked(self) -> Check | None:
        """The last ping that it answered."""
        return self.own.checked

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know."""
        return self.own.notes

    @property
    def handshake(self) -> Handshake:
        """What it said of itself."""
        return self.own.handshake

    @property
    def at_work(self) -> bool:
        """Whether a call of a client is in flight."""
        return any(each.at_work for each in (*self._all, *self.talks))

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that it has not answered."""
        return [call for each in (*self._all, *self.talks) for call in each.in_flight()]

    def end_streams(self) -> None:
        """End the streams of sessions; calls go on."""
        for each in self._all:
            each.end_streams()

    def close(self, reason: str) -> None:
        """Let go of the server; calls in flight end with an error."""
        self.talks.close(reason)
        for each in reversed(self._all):
            each.close(reason)
        self._closed()


class PrivateEndpoint:
    """Answers the requests of each session in its own conversation; see :class:`thv_gateway.servers.upstream.Endpoint`.

    The ids of sessions are the gateway's own, so that they outlive the conversations: one that was lost is opened anew
    with what is remembered of the client, when the client comes again.

    :param named: returns the name of the conversation of a session.
    :param passed: names of header fields of a client that are handed on to the server, those of each request with it.
    """

    def __init__(
        self,
        link: PrivateLink,
        estate: Estate,
        named: Callable[[Session], str],
        passed: frozenset[bytes] = frozenset(),
    ) -> None:
        self._passed = passed
        self.link = link
        self._talks = link.talks
        self._estate = estate
        self._sessions = estate.sessions
        self._named = named
        self._faces: dict[PrivateTalk, PipeEndpoint] = {}

    def owns(self, arrival: Arrival) -> bool:
        """Tell whether this is about a call in flight here."""
        session = self._session(arrival)
        talk = self._talks.find(self._named(session)) if session is not None else None
        return talk is not None and self._face(talk).owns(arrival)

    def needs_server(self, arrival: Arrival) -> bool:
        """Tell whether the server has to be ready: not for the end of a session, which is the gateway's."""
        if arrival.message is None:
            return arrival.method == "GET"
        return arrival.message.method not in _OWN

    def knows(self, arrival: Arrival) -> bool:
        """Say so of every session: the gateway itself keeps them."""
        return True

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Do nothing: a conversation is opened when it is answered in."""
        return None

    def begin(self, former: Upstream) -> None:
        """Do nothing: each conversation is opened when its client comes."""

    def recede(self) -> None:
        """End the conversations without calls in flight: their clients go on at another life."""
        self._talks.recede()

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Answer a request that passed every stage."""
        message = arrival.message
        if message is not None and message.method == "initialize" and message.kind is Kind.REQUEST:
            return await self._initialize(arrival, message, chain)
        session = self._session(arrival)
        identifier = arrival.identifier
        if session is None:
            return refusal(404, SESSION_NOT_FOUND, "Session not found", identifier)
        if arrival.method == "DELETE":
            return self._leave(session)
        talk = self._talks.find(self._named(session))
        if talk is None:
            return await self._elsewhere(arrival, chain, session)
        talk.touch(self._fields(arrival))
        if message is not None and message.method == "notifications/initialized":
            talk.conversation.send(message)
            return accepted
        return await self._face(talk).answer(arrival, chain)

    async def _elsewhere(self, arrival: Arrival, chain: Chain, session: Session) -> Reply | Flow:
        """Answer in a conversation that has to be opened anew, as far as it is worth that."""
        message = arrival.message
        if message is not None and (message.method in _OWN or message.kind is Kind.RESPONSE):
            return accepted
        talk = await self._talks.of(self._party(arrival, session, introduction(self._estate, session)))
        if isinstance(talk, Reply):
            arrival.fault = "unavailable"
            return addressed(talk, message)
        return await self._face(talk).answer(arrival, chain)

    async def _initialize(self, arrival: Arrival, message: Message, chain: Chain) -> Reply:
        asked = text_of(message.params.get("protocolVersion", b""))
        able = abilities(members(message.params.get("capabilities", b"")))
        version = negotiated(asked, self.link.handshake.version)
        owner = self._sessions.owner_of(arrival.identity)
        session = self._sessions.open(version, able, owner)
        if session is None:
            return refusal(503, INTERNAL_ERROR, "Too many sessions", message.id, RETRY)
        opened = await self._talks.introduced(self._party(arrival, session, message.params))
        if isinstance(opened, Reply):
            arrival.fault = "unavailable"
            self._end(session)
            return addressed(opened, message)
        _, answer = opened
        response = Message(kind=Kind.RESPONSE, id=message.id, result=answer.result, error=answer.error)
        body = assemble(await chain.outward(arrival, response) or response)
        if answer.error:
            self._end(session)
            return Reply(200, body)
        session.version = opened[0].handshake.version
        self._estate.recollection.admit(session.id, message.params, "", Stay(""), owner)
        self._estate.remember()
        return Reply(200, body, (JSON, (b"mcp-session-id", session.id.encode())))

    def _party(self, arrival: Arrival, session: Session, params: Mapping[str, bytes]) -> Party:
        return Party(self._named(session), params, session, self._fields(arrival))

    def _fields(self, arrival: Arrival) -> Fields:
        return tuple(each for each in arrival.headers if each[0] in self._passed)

    def _leave(self, session: Session) -> Reply:
        self._end(session)
        return Reply(204, b"", ())

    def _end(self, session: Session) -> None:
        self._talks.end(self._named(session), "the session was ended")
        self._sessions.end(session)
        self._estate.remember()

    def _session(self, arrival: Arrival) -> Session | None:
        return arrival.live or (self._sessions.find(arrival.session) if arrival.session else self._sessions.anonymous())

    def _face(self, talk: PrivateTalk) -> PipeEndpoint:
        face = self._faces.get(talk)
        if face is None:
            alive = set(self._talks)
            self._faces = {each: known for each, known in self._faces.items() if each in alive}
            face = self._faces[talk] = PipeEndpoint(talk, self._estate)
        return face
