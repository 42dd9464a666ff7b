"""Who subscribed to which resource of one server, so that updates reach those sessions and no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

__all__ = ["MAX_URI", "Subscriptions"]

MAX_SUBSCRIPTIONS = 10_000
MAX_URI = 8192
"""A longer URI is not subscribed to: all of them are remembered."""


class Subscriptions:
    """The subscriptions to one incarnation, kept with its handshake so that they survive the gateway.

    :param kept: session id to URIs; changed in place.
    :param save: called after each change.
    """

    def __init__(self, kept: dict[str, list[str]], save: Callable[[], None]) -> None:
        self._kept = kept
        self._save = save
        self._held: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether a new subscription has to be refused."""
        return sum(map(len, self._kept.values())) + len(self._held) >= MAX_SUBSCRIPTIONS

    def add(self, session: str, uri: str) -> None:
        """Remember that a session subscribed to a resource."""
        uris = self._kept.setdefault(session, [])
        if uri not in uris:
            uris.append(uri)
            self._save()

    def remove(self, session: str, uri: str) -> None:
        """Forget one subscription of a session."""
        uris = self._kept.get(session, [])
        if uri in uris:
            uris.remove(uri)
            if not uris:
                del self._kept[session]
            self._save()

    def hold(self, uri: str) -> bool:
        """Subscribe for who has no session and is remembered nowhere; tell whether the server has to be asked."""
        self._held[uri] += 1
        return self._held[uri] == 1 and not self.subscribers(uri)

    def let_go(self, uri: str) -> bool:
        """Undo one :meth:`hold`; tell whether nobody is subscribed any more."""
        self._held[uri] -= 1
        if self._held[uri] > 0:
            return False
        del self._held[uri]
        return not self.subscribers(uri)

    @property
    def held(self) -> set[str]:
        """The resources that are subscribed to without a session."""
        return set(self._held)

    def subscribers(self, uri: str) -> list[str]:
        """Return the ids of the sessions that subscribed to a resource."""
        return [session for session, uris in self._kept.items() if uri in uris]

    def end(self, session: str) -> list[str]:
        """Forget a session; return the URIs to which nobody is subscribed any more."""
        uris = self._kept.pop(session, [])
        if uris:
            self._save()
        return [uri for uri in uris if not self.subscribers(uri) and uri not in self._held]
