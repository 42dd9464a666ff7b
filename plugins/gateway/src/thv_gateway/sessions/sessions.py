"""Sessions of clients: signed, self-describing ids that a restarted gateway or another worker accepts.

An id is ``PAYLOAD.SIGNATURE``, both base64url without padding, hence visible ASCII as MCP asks. It authenticates
nobody: it only proves that a gateway with the same key issued it for this workload, and to which principal. For any
other one there is no such session (MCP, security best practices: sessions are no authentication).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from enum import IntFlag
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from thv_core.model.identity import LOCAL_USER, Identity
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.sessions.memory import ANONYMOUS, Recollection
from thv_gateway.sessions.tapes import Tape, Tapes

if TYPE_CHECKING:
    from thv_gateway.sessions.sharing import Sharing

__all__ = ["Abilities", "Session", "Sessions", "abilities", "capabilities"]

MAX_LIVE = 10_000
MAX_DECLARED = 4096
_LONGEST_ID = 1024
_TTL = 7200.0
_NOTES = 20
"""So many times within the time to live a session's use is written down at most."""

_MAX_OWNERS = 1000


class Abilities(IntFlag):
    """What a client declared at ``initialize`` that it can answer, with the parts that came later."""

    NONE = 0
    SAMPLING = 1
    ELICITATION = 2
    ROOTS = 4
    SAMPLING_TOOLS = 8
    SAMPLING_CONTEXT = 16
    ELICITATION_URL = 32
    ELICITATION_FORM = 64


_PARTS = {
    Abilities.SAMPLING: {"tools": Abilities.SAMPLING_TOOLS, "context": Abilities.SAMPLING_CONTEXT},
    Abilities.ELICITATION: {"url": Abilities.ELICITATION_URL, "form": Abilities.ELICITATION_FORM},
    Abilities.ROOTS: {},
}


class _Claim(msgspec.Struct, frozen=True, array_like=True):
    workload: str
    nonce: str
    version: str
    abilities: int
    issued: int
    owner: str = ""


class Session:
    """One verified session.

    ``stream`` is its open GET stream, ``calls`` how many of its calls are in flight, ``owner`` a digest of the
    principal that it belongs to, and ``used`` when it was last, in seconds since the epoch; ``noted`` is when that was
    last written down. ``declared`` are its raw ``capabilities``, empty when they are too long or no longer known.
    """

    __slots__ = ("abilities", "calls", "declared", "id", "noted", "owner", "stream", "tapes", "used", "version")

    def __init__(self, identifier: str, version: str, able: Abilities, owner: str = "") -> None:
        self.id = identifier
        self.version = version
        self.abilities = able
        self.owner = owner
        self.declared = b""
        self.used = self.noted = 0.0
        self.calls = 0
        self.stream: Mailbox | None = None
        self.tapes: dict[bytes, Tape] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost if it were forgotten: its id can be verified again."""
        return self.calls == 0 and self.stream is None


class Sessions:
    """The sessions of one workload; at most :data:`MAX_LIVE` are remembered, the one idle longest goes first.

    ``ttl`` is after how many seconds of idleness one ends. ``on_use`` is called when uses should be written down.
    ``sharing`` is there when other gateways have a part in them.

    :param random: returns so many random bytes.
    :param clock: returns seconds since the epoch.
    :param recollection: what a former gateway, or a life of the server that kept sessions itself, knew of them.
    """

    def __init__(
        self,
        workload: str,
        key: bytes,
        random: Callable[[int], bytes],
        clock: Callable[[], float],
        recollection: Recollection | None = None,
    ) -> None:
        self.ttl = _TTL
        self.on_use: Callable[[], None] = _nothing
        self.tapes = Tapes()
        self.sharing: Sharing | None = None
        self._workload = workload
        self._key = key
        self._random = random
        self._clock = clock
        self._live: dict[str, Session] = {}
        self._owners: dict[Identity, str] = {}
        self._recollection = recollection or Recollection()

    @property
    def full(self) -> bool:
        """Whether there are too many sessions, each of them at work."""
        return len(self._live) >= MAX_LIVE and not any(session.idle for session in self._live.values())

    def sign_with(self, key: bytes) -> None:
        """Sign with another key from now on, one that other gateways have as well."""
        self._key = key
        self._owners.clear()

    def owner_of(self, identity: Identity | None) -> str:
        """Return a digest of a principal that says nothing of it; empty for the user of this machine."""
        if identity is None or identity == LOCAL_USER:
            return ""
        owner = self._owners.get(identity)
        if owner is None:
            if len(self._owners) >= _MAX_OWNERS:
                self._owners.clear()
            name = msgspec.json.encode([identity.issuer, identity.subject])
            owner = self._owners[identity] = self._signature(name.decode())
        return owner

    def open(self, version: str, able: Abilities, owner: str = "", declared: bytes = b"") -> Session | None:
        """Mint a session; ``None`` when there are too many busy ones."""
        now = self._clock()
        claim = _Claim(self._workload, self.nonce(), version, int(able), int(now), owner)
        payload = _encoded(msgspec.json.encode(claim))
        session = Session(f"{payload}.{self._signature(payload)}", version, able, owner)
        session.used = session.noted = now
        session.declared = declared if len(declared) <= MAX_DECLARED else b""
        return self._admitted(session)

    def seal(self, text: str) -> str:
        """Return a text of base64url so that :meth:`unseal` knows it again, here and in no other workload."""
        return f"{text}.{self._signature(f'state:{self._workload}:{text}')}"

    def unseal(self, sealed: str) -> str:
        """Return what was sealed; an empty text when it is forged."""
        text, _, signature = sealed.partition(".")
        if not sealed.isascii() or not hmac.compare_digest(sealed, self.seal(text)) or not signature:
            return ""
        return text

    def nonce(self) -> str:
        """Return a text that nobody can guess."""
        return _encoded(self._random(16))

    def find(self, identifier: str) -> Session | None:
        """Return the session of a valid id, which is in use by that.

        ``None`` when it is forged, of another workload, ended, or was idle for too long. An id of another life of the
        server, which spoke HTTP, is valid when it is remembered.
        """
        session = self._live.get(identifier)
        if session is None:
            session = self._recalled(identifier) or self._verified(identifier)
        if session is None or (session.idle and self._clock() - session.used > self.ttl):
            if session is not None:
                self.end(session)
            return None
        if session.id not in self._live and self._admitted(session) is None:
            return None
        self.touch(session)
        return session

    def live(self, identifier: str) -> Session | None:
        """Return a session that this gateway has at hand, and do not use it."""
        return self._live.get(identifier)

    def newest(self, number: int) -> list[str]:
        """Return the ids of the sessions that were opened or used last."""
        return list(islice(reversed(self._live), number))

    def refresh(self, identifier: str) -> None:
        """Take note that a session is in use, maybe at another gateway."""
        now = self._clock()
        visitor, session = self._recollection.visitors.get(identifier), self._live.get(identifier)
        if visitor is not None:
            visitor.used = now
        elif session is None:
            self._recollection.use(identifier, now)
        if session is not None:
            session.used = now

    def touch(self, session: Session) -> None:
        """Take note that a session is in use."""
        session.used = self._clock()
        if session.used - session.noted < self.ttl / _NOTES or session.id not in self._live:
            return
        session.noted = session.used
        self._live[session.id] = self._live.pop(session.id)
        if session.id in self._recollection.visitors:
            self._recollection.visitors[session.id].used = session.used
        else:
            self._recollection.use(session.id, session.used)
        self.on_use()

    def visit(self, identifier: str, owner: str) -> bool:
        """Tell whether a principal may use a session that the server keeps itself, which is in use by that.

        Of one that is not remembered the server is the judge, unless there are several principals.
        """
        visitor = self._recollection.visitors.get(identifier)
        if visitor is None:
            session = self.find(identifier) if "." in identifier else None
            return session.owner == owner if session is not None else not owner
        if visitor.owner != owner:
            return False
        now = self._clock()
        if visitor.used and now - visitor.used > self.ttl:
            self._recollection.end(identifier)
            self.on_use()
            return False
        visitor.used = now
        return True

    def anonymous(self) -> Session | None:
        """Return the session of those who have none, if a life of the server kept no sessions."""
        return self.find(ANONYMOUS) if ANONYMOUS in self._recollection.visitors else None

    def end(self, session: Session) -> None:
        """Forget a session and refuse its id from now on."""
        self._drop(session)
        self._recollection.end(session.id)

    def listening(self) -> list[Session]:
        """Return the sessions that have an open GET stream."""
        return [session for session in self._live.values() if session.stream is not None]

    def close_streams(self) -> None:
        """End every GET stream; the clients open them again."""
        for session in self.listening():
            if session.stream is not None:
                session.stream.close()

    def _drop(self, session: Session) -> None:
        if session.stream is not None:
            session.stream.close()
        self.tapes.forget(session)
        self._live.pop(session.id, None)

    def _recalled(self, identifier: str) -> Session | None:
        visitor = self._recollection.visitors.get(identifier)
        if visitor is None:
            return None
        version, capabilities = (bytes(visitor.params.get(name, b"")) for name in ("protocolVersion", "capabilities"))
        session = Session(identifier, text_of(version), abilities(members(capabilities)), visitor.owner)
        session.declared = capabilities
        session.used = session.noted = visitor.used or self._clock()
        return session

    def _verified(self, identifier: str) -> Session | None:
        payload, _, signature = identifier.partition(".")
        if len(identifier) > _LONGEST_ID or not identifier.isascii() or self._recollection.has_ended(identifier):
            return None
        if not hmac.compare_digest(signature, self._signature(payload)):
            return None
        try:
            claim = msgspec.json.decode(_decoded(payload), type=_Claim)
        except (msgspec.DecodeError, binascii.Error, ValueError):
            return None
        if claim.workload != self._workload:
            return None
        session = Session(identifier, claim.version, Abilities(claim.abilities), claim.owner)
        session.used = session.noted = max(claim.issued, self._recollection.last_use(identifier))
        return session

    def _admitted(self, session: Session) -> Session | None:
        """Make room: for that go the ones that were idle for too long, or else the one that was for longest."""
        now = self._clock()
        while (first := next(iter(self._live.values()), None)) and first.idle and now - first.used > self.ttl:
            self._drop(first)
        if len(self._live) >= MAX_LIVE:
            oldest = next((each for each in self._live.values() if each.idle), None)
            if oldest is None:
                return None
            self._drop(oldest)
        self._live[session.id] = session
        return session

    def _signature(self, payload: str) -> str:
        return _encoded(hmac.digest(self._key, payload.encode(), "sha256"))


def abilities(capabilities: Mapping[str, bytes]) -> Abilities:
    """Return what the raw ``capabilities`` of a client declare."""
    declared = Abilities.NONE
    for flag, parts in _PARTS.items():
        raw = capabilities.get(str(flag.name).lower(), b"null")
        if raw != b"null":
            told = members(raw)
            declared |= flag
            for name, part in parts.items():
                declared |= part if told.get(name, b"null") != b"null" else Abilities.NONE
    return declared


def capabilities(able: Abilities) -> bytes:
    """Return what a client would declare that can do so much, as raw ``capabilities``."""
    return msgspec.json.encode(
        {
            str(flag.name).lower(): {name: {} for name, part in parts.items() if part in able}
            for flag, parts in _PARTS.items()
            if flag in able
        }
    )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _nothing() -> None:
    """Write nothing down."""
