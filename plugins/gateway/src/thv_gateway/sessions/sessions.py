"""Sessions of clients: signed, self-describing ids that a restarted gateway or another worker accepts.

An id is ``PAYLOAD.SIGNATURE``, both base64url without padding, hence visible ASCII as MCP asks. It authenticates
nobody: it only proves that a gateway with the same key issued it for this workload.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from enum import IntFlag

import msgspec

from thv_gateway.messages.parsing import members, text_of
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.sessions.memory import ANONYMOUS, Recollection

__all__ = ["Abilities", "Session", "Sessions", "abilities", "capabilities"]

MAX_LIVE = 10_000
_LONGEST_ID = 1024


class Abilities(IntFlag):
    """What a client declared at ``initialize`` that it can answer."""

    NONE = 0
    SAMPLING = 1
    ELICITATION = 2
    ROOTS = 4


class _Claim(msgspec.Struct, frozen=True, array_like=True):
    workload: str
    nonce: str
    version: str
    abilities: int
    issued: int


class Session:
    """One verified session; ``stream`` is its open GET stream, ``calls`` how many of its calls are in flight."""

    __slots__ = ("abilities", "calls", "id", "stream", "version")

    def __init__(self, identifier: str, version: str, able: Abilities) -> None:
        self.id = identifier
        self.version = version
        self.abilities = able
        self.calls = 0
        self.stream: Mailbox | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost if it were forgotten: its id can be verified again."""
        return self.calls == 0 and self.stream is None


class Sessions:
    """The sessions of one workload; at most :data:`MAX_LIVE` are remembered, the oldest idle ones go first.

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
        self._workload = workload
        self._key = key
        self._random = random
        self._clock = clock
        self._live: dict[str, Session] = {}
        self._recollection = recollection or Recollection()

    def open(self, version: str, able: Abilities) -> Session | None:
        """Mint a session; ``None`` when there are too many busy ones."""
        claim = _Claim(self._workload, self.nonce(), version, int(able), int(self._clock()))
        payload = _encoded(msgspec.json.encode(claim))
        return self._remember(Session(f"{payload}.{self._signature(payload)}", version, able))

    def nonce(self) -> str:
        """Return a text that nobody can guess."""
        return _encoded(self._random(16))

    def find(self, identifier: str) -> Session | None:
        """Return the session of a valid id; ``None`` when it is forged, of another workload, or ended.

        An id of another life of the server, which spoke HTTP, is valid when it is remembered.
        """
        return self._live.get(identifier) or self._recalled(identifier) or self._verified(identifier)

    def anonymous(self) -> Session | None:
        """Return the session of those who have none, if a life of the server kept no sessions."""
        return self.find(ANONYMOUS) if ANONYMOUS in self._recollection.visitors else None

    def end(self, session: Session) -> None:
        """Forget a session and refuse its id from now on."""
        if session.stream is not None:
            session.stream.close()
        self._live.pop(session.id, None)
        self._recollection.end(session.id)

    def listening(self) -> list[Session]:
        """Return the sessions that have an open GET stream."""
        return [session for session in self._live.values() if session.stream is not None]

    def close_streams(self) -> None:
        """End every GET stream; the clients open them again."""
        for session in self.listening():
            if session.stream is not None:
                session.stream.close()

    def _recalled(self, identifier: str) -> Session | None:
        visitor = self._recollection.visitors.get(identifier)
        if visitor is None:
            return None
        version, capabilities = (bytes(visitor.params.get(name, b"")) for name in ("protocolVersion", "capabilities"))
        return self._remember(Session(identifier, text_of(version), abilities(members(capabilities))))

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
        return self._remember(Session(identifier, claim.version, Abilities(claim.abilities)))

    def _remember(self, session: Session) -> Session | None:
        if len(self._live) >= MAX_LIVE:
            oldest = next((each for each in self._live.values() if each.idle), None)
            if oldest is None:
                return None
            del self._live[oldest.id]
        self._live[session.id] = session
        return session

    def _signature(self, payload: str) -> str:
        return _encoded(hmac.digest(self._key, payload.encode(), "sha256"))


def abilities(capabilities: Mapping[str, bytes]) -> Abilities:
    """Return what the raw ``capabilities`` of a client declare."""
    declared = Abilities.NONE
    for flag in (Abilities.SAMPLING, Abilities.ELICITATION, Abilities.ROOTS):
        if capabilities.get(str(flag.name).lower(), b"null") != b"null":
            declared |= flag
    return declared


def capabilities(able: Abilities) -> bytes:
    """Return what a client would declare that can do so much, as raw ``capabilities``."""
    return msgspec.json.encode({str(flag.name).lower(): {} for flag in Abilities if flag and flag in able})


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
