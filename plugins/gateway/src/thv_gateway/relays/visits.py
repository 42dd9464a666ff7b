"""The sessions of clients at one server that speaks HTTP, and keeps sessions of its own.

A client knows one id of its session as long as it lives. Another life of the server knows none of them: there the
gateway introduces the client anew, as the client had introduced itself, and translates the ids from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import msgspec

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply
from thv_gateway.client.connection import Broken, Head
from thv_gateway.client.pool import Busy
from thv_gateway.messages.answers import INTERNAL_ERROR, SESSION_NOT_FOUND, refusal
from thv_gateway.messages.assembly import quoted
from thv_gateway.messages.parsing import text_of
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.subscriptions import MAX_URI, Subscriptions
from thv_gateway.relays.heads import modern_fields
from thv_gateway.relays.probe import Interview
from thv_gateway.relays.relay_link import RelayLink
from thv_gateway.servers.handshake import Refused
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.memory import ANONYMOUS, Stay, Visitor
from thv_gateway.sessions.sessions import Session, capabilities
from thv_gateway.stages.chain import Arrival
from thv_gateway.web.reception import RETRY

__all__ = ["INTRODUCTION_SECONDS", "Visits", "is_legacy"]

INTRODUCTION_SECONDS = 10.0

_MAX_RESUMABLE = 10_000
_SESSION = b"mcp-session-id"
_VERSION = b"mcp-protocol-version"

_NOWHERE = Stay("")
_NAMELESS = msgspec.json.encode({"name": "thv", "version": "1"})
"""Who a client is that is remembered without its name."""

Fields = list[tuple[bytes, bytes]]


class Visits:
    """Who stays at one incarnation, and under which id."""

    def __init__(self, link: RelayLink, estate: Estate) -> None:
        self._link = link
        self._incarnation = link.route.incarnation
        self._sessions = estate.sessions
        self._recollection = estate.recollection
        self._remember = estate.remember
        self._subscriptions = Subscriptions(estate.recollection.subscriptions, estate.remember)
        self._introductions: dict[str, asyncio.Task[tuple[int, str] | None]] = {}
        self._resumable: set[str] = set()

    def knows(self, arrival: Arrival) -> bool:
        """Tell whether the server knows the session, or whether nobody can introduce it."""
        visitor = self._recollection.visitors.get(arrival.session)
        if visitor is not None and self._incarnation in visitor.stays:
            return True
        if arrival.method == "DELETE" or _initializes(arrival) or not is_legacy(arrival):
            return True
        return visitor is None and self._own(arrival.session) is None

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Open a session for a client that had one at a former life, once, however many of its requests ask for it."""
        identifier = arrival.session
        introduction = self._introductions.get(identifier)
        if introduction is None:
            passed = [
                field for field in arrival.headers if field[0] in self._link.passed and field[0] != b"last-event-id"
            ]
            introduction = asyncio.create_task(self._introduced(identifier, passed))
            self._introductions[identifier] = introduction
            introduction.add_done_callback(lambda _: self._introductions.pop(identifier))
        failed = await asyncio.shield(introduction)
        if failed is None:
            return None
        arrival.fault = "unavailable"
        status, text = failed
        code = SESSION_NOT_FOUND if status == 404 else INTERNAL_ERROR
        return refusal(status, code, text, arrival.identifier, RETRY if status == 503 else ())

    def stay_of(self, arrival: Arrival) -> Stay:
        """Return where the session of a request stays here; it has no id when that is nothing to be renewed."""
        visitor = self._recollection.visitors.get(arrival.session) if arrival.session else None
        if visitor is None or arrival.method == "DELETE" or _initializes(arrival) or not is_legacy(arrival):
            return _NOWHERE
        return visitor.stays.get(self._incarnation, _NOWHERE)

    async def renew(self, arrival: Arrival, lost: Stay) -> Reply | None:
        """Open a session in the place of one that the server has lost, once for all who ask; a reply says why not."""
        visitor = self._recollection.visitors.get(arrival.session)
        if visitor is not None and visitor.stays.get(self._incarnation) == lost:
            del visitor.stays[self._incarnation]
        return None if self.knows(arrival) else await self.introduce(arrival)

    def passes(self, arrival: Arrival) -> bool:
        """Tell whether the server knows a session by the id that its client names, so that its fields are handed on."""
        if arrival.era is Era.MODERN or self._link.route.terms.stateless:
            return False
        visitor = self._recollection.visitors.get(arrival.session)
        if visitor is None:
            return True
        stay = visitor.stays.get(self._incarnation, _NOWHERE)
        return stay.id == arrival.session and not stay.version

    def inward(self, arrival: Arrival) -> Fields:
        """Return the fields of a request that the server gets, with the session as the server knows it."""
        passed = self._link.passed
        if arrival.era is Era.MODERN and arrival.message is not None:
            return modern_fields(arrival, arrival.message, passed)
        fields = [field for field in arrival.headers if field[0][:4] == b"mcp-" or field[0] in passed]
        if self._link.route.terms.stateless:
            return [field for field in fields if field[0] != _SESSION]
        visitor = self._recollection.visitors.get(arrival.session)
        if visitor is None:
            return fields
        stay = visitor.stays.get(self._incarnation, _NOWHERE)
        if stay.id == arrival.session and not stay.version:
            return fields
        return self._translated(fields, arrival, stay)

    def outward(self, arrival: Arrival, head: Head) -> bytes:
        """Return the id of the session for the client, and take note of sessions that begin or end with this answer."""
        if arrival.era is Era.MODERN or self._link.route.terms.stateless:
            return b""
        given = head.fields.get(_SESSION, b"").decode("latin-1")
        if _initializes(arrival):
            return self._admitted(arrival, given).encode("latin-1") if head.status == 200 else b""
        visitor = self._recollection.visitors.get(arrival.session)
        if visitor is None:
            return given.encode("latin-1")
        if arrival.method == "DELETE" and head.status < 300:
            self._end(arrival.session)
        elif head.status == 404:
            self._lose(arrival.session, visitor)
        elif arrival.message is not None:
            self._recollection.touch(arrival.session)
        return arrival.session.encode("latin-1") if given else b""

    def leaves_unnoticed(self, arrival: Arrival) -> bool:
        """End a session that the server does not know; ``False`` when it may know it."""
        visitor = self._recollection.visitors.get(arrival.session)
        if arrival.session == ANONYMOUS:
            return False
        if visitor is not None and not visitor.stays.get(self._incarnation, _NOWHERE).id:
            self._end(arrival.session)
            return True
        session = self._own(arrival.session) if visitor is None else None
        if session is not None:
            self._sessions.end(session)
            self._remember()
        return session is not None

    def answered(self, arrival: Arrival, message: Message) -> None:
        """Take note of what a session wants to be told, for other lives."""
        asked = arrival.message
        if asked is None or not message.result or arrival.session not in self._recollection.visitors:
            return
        if asked.method == "logging/setLevel":
            self._recollection.want_level(arrival.session, text_of(asked.params.get("level", b"")))
            self._remember()
        elif asked.method == "resources/unsubscribe":
            self._subscriptions.remove(arrival.session, asked.name)
        elif not self._subscriptions.full and len(asked.name) <= MAX_URI:
            self._subscriptions.add(arrival.session, asked.name)

    def resumable(self, session: str) -> None:
        """Note that a session was given the id of an event of this life."""
        if len(self._resumable) < _MAX_RESUMABLE:
            self._resumable.add(session)

    def _translated(self, fields: Fields, arrival: Arrival, stay: Stay) -> Fields:
        dropped = {_SESSION}
        if arrival.session not in self._resumable:
            # It is the id of an event of another life.
            dropped.add(b"last-event-id")
        if stay.version and is_legacy(arrival):
            dropped.add(_VERSION)
        kept = [field for field in fields if field[0] not in dropped]
        if stay.id:
            kept.append((_SESSION, stay.id.encode("latin-1")))
        if _VERSION in dropped:
            kept.append((_VERSION, stay.version.encode()))
        return kept

    def _admitted(self, arrival: Arrival, given: str) -> str:
        visitors = self._recollection.visitors
        params: Mapping[str, bytes] = arrival.message.params if arrival.message is not None else {}
        if given:
            self._link.keeps_sessions()
            # A server may number its sessions, and begin anew in each life.
            known = given if given not in visitors else f"thv-{self._sessions.nonce()}"
        elif self._link.handshake.stateful or self._stays(ANONYMOUS):
            return ""
        else:
            known = ANONYMOUS
        owner = self._sessions.owner_of(arrival.identity)
        self._recollection.admit(known, params, self._incarnation, Stay(given), owner)
        self._remember()
        return known

    def _stays(self, identifier: str) -> bool:
        visitor = self._recollection.visitors.get(identifier)
        return visitor is not None and self._incarnation in visitor.stays

    def _own(self, identifier: str) -> Session | None:
        """Return a session that began at a life which spoke over pipes."""
        return self._sessions.find(identifier) if "." in identifier else None

    def _end(self, identifier: str) -> None:
        if identifier != ANONYMOUS:
            self._recollection.end(identifier)
            self._remember()

    def _lose(self, identifier: str, visitor: Visitor) -> None:
        """Take note that this life knows a session no more; at another one it may go on."""
        visitor.stays.pop(self._incarnation, None)
        if not visitor.stays:
            self._end(identifier)

    async def _introduced(self, identifier: str, passed: Fields) -> tuple[int, str] | None:
        name, parameters = self._link.route.workload, self._parameters(identifier)
        interview = Interview(self._link.client, fields=(*self._link.added, *passed))
        try:
            async with asyncio.timeout(INTRODUCTION_SECONDS):
                handshake = await interview.introduce(parameters)
        except Refused as refused:
            return 404, f"{name} refused initialize: {refused}"
        except (Broken, Busy, OSError, TimeoutError) as error:
            return 503, f"{name} did not initialize the session: {error or type(error).__name__}"
        stay = Stay(interview.session, handshake.version)
        if stay.id:
            self._link.keeps_sessions()
        visitor = self._recollection.visitors.get(identifier)
        if visitor is not None:
            visitor.stays[self._incarnation] = stay
        elif (own := self._own(identifier)) is not None:
            self._recollection.admit(identifier, parameters, self._incarnation, stay, own.owner)
        else:
            return 404, "The session has ended meanwhile"
        self._remember()
        await self._repeat(identifier, interview)
        return None

    async def _repeat(self, identifier: str, interview: Interview) -> None:
        """Tell the server what the session asked of a former life, as far as it wants to hear it."""
        level = self._recollection.levels.get(identifier, "")
        with contextlib.suppress(Broken, Busy, OSError, Refused, TimeoutError):
            async with asyncio.timeout(INTRODUCTION_SECONDS):
                if level:
                    await interview.ask("logging/setLevel", {"level": quoted(level)})
                for uri in list(self._recollection.subscriptions.get(identifier, ())):
                    await interview.ask("resources/subscribe", {"uri": quoted(uri)})

    def _parameters(self, identifier: str) -> dict[str, bytes]:
        visitor = self._recollection.visitors.get(identifier)
        if visitor is not None:
            return {"clientInfo": _NAMELESS, **{name: bytes(raw) for name, raw in visitor.params.items()}}
        session = self._own(identifier)
        if session is None:
            return {}
        version = msgspec.json.encode(session.version)
        return {"protocolVersion": version, "capabilities": capabilities(session.abilities), "clientInfo": _NAMELESS}


def is_legacy(arrival: Arrival) -> bool:
    """Tell whether a request is of the handshake era, where there are sessions."""
    return arrival.era is Era.LEGACY


def _initializes(arrival: Arrival) -> bool:
    message = arrival.message
    return message is not None and message.method == "initialize" and message.kind is Kind.REQUEST
