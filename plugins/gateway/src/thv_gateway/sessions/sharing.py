"""What several gateways know together of the sessions of one workload, in a store that all of them reach.

A session is known as long as the store has its record, and nobody is asked more often than that is worth: once it has
been seen, it is taken as known for :data:`SEEN_SECONDS`. When the store does not answer, nobody gets in.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from itertools import islice

import msgspec

from thv_gateway.sessions.memory import Recollection, Stay, Visitor
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.sessions.store import SessionStore, StoreUnavailable

__all__ = ["SEEN_SECONDS", "Sharing", "records_of"]

SEEN_SECONDS = 0.8
"""So long a session that was ended at another gateway may go on at this one."""

_MAX_SEEN = 20_000
_NEWEST = 64


class _Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is kept of one session; ``visitor`` is what there is of one at a server that keeps sessions itself."""

    visitor: Visitor | None = None
    level: str = ""
    subscriptions: list[str] = msgspec.field(default_factory=list[str])


class Sharing:
    """The sessions of one workload, as far as other gateways have a part in them.

    :param key: with which this gateway would sign if it were the first one.
    """

    def __init__(
        self, workload: str, sessions: Sessions, recollection: Recollection, store: SessionStore, key: bytes
    ) -> None:
        self._workload = workload
        self._sessions = sessions
        self._recollection = recollection
        self._store = store
        self._key = key
        self._agreed = False
        self._seen: dict[str, tuple[float, bytes]] = {}
        self._former = set(recollection.visitors)

    async def agree(self) -> None:
        """Sign as every other gateway does.

        :raises StoreUnavailable: when nobody can tell how.
        """
        self._key = await self._store.key(self._key)
        self._sessions.sign_with(self._key)
        self._agreed = True

    def has_seen(self, identifier: str) -> bool:
        """Tell whether a session went on a moment ago."""
        seen, _ = self._seen.get(identifier, (0.0, b""))
        return bool(seen) and time.monotonic() - seen < SEEN_SECONDS

    async def recall(self, identifier: str) -> bool:
        """Tell whether a session goes on, which is in use by that, and learn what other gateways know of it.

        :raises StoreUnavailable: when nobody can tell.
        """
        if self.has_seen(identifier):
            return True
        if not self._agreed:
            await self.agree()
        data = await self._store.get(self._name(identifier), self._sessions.ttl)
        if data is None:
            self._forget(identifier)
            return False
        if self._seen.get(identifier, (0.0, b""))[1] != data:
            self._adopt(identifier, data)
        self._sessions.refresh(identifier)
        self._note(identifier, data)
        return True

    async def save(self, identifier: str) -> None:
        """Let other gateways know what there is to know of a session.

        :raises StoreUnavailable: when that cannot be.
        """
        data = self._record(identifier)
        if self._seen.get(identifier, (0.0, b""))[1] == data:
            return
        await self._store.put(self._name(identifier), data, self._sessions.ttl)
        self._note(identifier, data)

    async def save_opened(self) -> None:
        """Let other gateways know of the sessions that were opened here just now.

        :raises StoreUnavailable: when that cannot be.
        """
        newest = [*islice(reversed(self._recollection.visitors), _NEWEST), *self._sessions.newest(_NEWEST)]
        for identifier in newest:
            if identifier and identifier not in self._seen and identifier not in self._former:
                await self.save(identifier)

    async def leave(self, identifier: str) -> None:
        """End a session at every gateway.

        :raises StoreUnavailable: when that cannot be.
        """
        self._seen.pop(identifier, None)
        await self._store.remove(self._name(identifier))

    def _name(self, identifier: str) -> str:
        return _name(self._workload, identifier)

    def _note(self, identifier: str, data: bytes) -> None:
        self._seen.pop(identifier, None)
        while len(self._seen) >= _MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[identifier] = time.monotonic(), data

    def _record(self, identifier: str) -> bytes:
        return _record(self._recollection, identifier)

    def _adopt(self, identifier: str, data: bytes) -> None:
        try:
            record = msgspec.json.decode(data, type=_Record)
        except msgspec.DecodeError as error:
            raise StoreUnavailable("a record is not one of this version") from error
        known = self._recollection
        self._former.discard(identifier)
        if record.visitor is not None:
            mine = known.visitors.get(identifier)
            stays = {**mine.stays, **record.visitor.stays} if mine is not None else record.visitor.stays
            known.admit(identifier, _raw(record.visitor.params), "", Stay(""), record.visitor.owner)
            known.visitors[identifier].stays = stays
        if record.level:
            known.want_level(identifier, record.level)
        if record.subscriptions:
            known.subscriptions[identifier] = record.subscriptions

    def _forget(self, identifier: str) -> None:
        self._seen.pop(identifier, None)
        self._recollection.forget(identifier)
        session = self._sessions.live(identifier)
        if session is not None:
            self._sessions.end(session)


def records_of(workload: str, known: Recollection) -> Iterator[tuple[str, bytes]]:
    """Return the name and the record of each session that is remembered of a workload."""
    for identifier in known.visitors:
        yield _name(workload, identifier), _record(known, identifier)


def _name(workload: str, identifier: str) -> str:
    # Ids open sessions, and whoever reads the store must not learn them.
    return f"{workload}:{hashlib.sha256(identifier.encode()).hexdigest()[:32]}"


def _record(known: Recollection, identifier: str) -> bytes:
    visitor = known.visitors.get(identifier)
    level, uris = known.levels.get(identifier, ""), known.subscriptions.get(identifier, [])
    # When it was used is what the store's own time to live is for.
    kept = msgspec.structs.replace(visitor, used=0.0) if visitor is not None else None
    return msgspec.json.encode(_Record(visitor=kept, level=level, subscriptions=uris))


def _raw(params: dict[str, msgspec.Raw]) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in params.items()}
