"""The client's end of one HTTP exchange, as everything behind the listener sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from thv_core.spi.middleware import Reply

__all__ = ["NOBODY", "Fields", "Gone", "Peer"]

Fields = Sequence[tuple[bytes, bytes]]


class Gone(Exception):
    """The client went away, or did not read for so long that it was given up; nothing more can be sent to it."""


class Peer(Protocol):
    """One request on one connection, and the way back: either :meth:`reply`, or :meth:`begin`, pieces and the end.

    ``is_gone`` tells that the client went away, or was given up.
    """

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be sent any more."""
        ...

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        """Call ``act`` once when the client goes away before the answer is complete, at once if it has gone.

        Return what makes it forget that.
        """
        ...

    async def body(self, limit: int) -> bytes | None:
        """Return the whole body, or ``None`` as soon as it has more than ``limit`` bytes.

        :raises Gone: when it does not come to its end.
        """
        ...

    def reply(self, reply: Reply) -> None:
        """Answer as a whole; its length is added."""
        ...

    def begin(self, status: int, fields: Fields) -> None:
        """Send the head of an answer that comes in pieces."""
        ...

    async def write(self, piece: bytes) -> None:
        """Send a piece, and wait as long as the client reads more slowly than it is written.

        :raises Gone: when the client went away, or read nothing for too long.
        """
        ...

    def finish(self) -> None:
        """End an answer that came in pieces; without it the client sees that it is incomplete."""
        ...


class _Nobody:
    """The client of an exchange of the gateway's own: it is always there, and reads nothing."""

    is_gone = False

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        """Never call it."""
        return _nothing

    async def body(self, limit: int) -> bytes | None:
        """Return nothing."""
        return b""

    def reply(self, reply: Reply) -> None:
        """Drop it."""

    def begin(self, status: int, fields: Fields) -> None:
        """Drop it."""

    async def write(self, piece: bytes) -> None:
        """Drop it."""

    def finish(self) -> None:
        """Do nothing."""


def _nothing() -> None:
    """Forget nothing."""


NOBODY: Peer = _Nobody()
