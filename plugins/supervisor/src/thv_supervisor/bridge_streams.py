"""The streams of a bridge: answers that go on elsewhere, and what a server says on its own (MCP 2025-11-25)."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator

from thv_core.errors import ThvError
from thv_supervisor.bridge_session import BridgeSession, Forgotten, Lost
from thv_supervisor.event_stream import bodies

__all__ = ["listened", "resumed"]

MOST_RESUMPTIONS = 20
"""So often an answer goes on in another stream that says nothing new."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


class _Place:
    """How far a stream was read, and how long the server asks to wait before it is asked for the rest.

    ``offered`` is whether the server has such a stream at all.
    """

    def __init__(self) -> None:
        self.offered = True
        self.last = ""
        self.pause = _FIRST_PAUSE

    def read(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """Yield the messages of a response; a stream that can be gone on with just ends where it broke."""
        try:
            for event in bodies(response):
                self.last = event.identifier or self.last
                self.pause = min(event.retry / 1000, _LONGEST_PAUSE) if event.retry >= 0 else self.pause
                if event.data:
                    yield event.data
        except (OSError, http.client.HTTPException):
            if not self.last:
                raise


def resumed(session: BridgeSession, response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the messages of a response, and of the streams in which the server goes on with it.

    :raises ValueError: when one of them is too large; also what :meth:`BridgeSession.exchange` raises.
    """
    place = _Place()
    yield from place.read(response)
    left = MOST_RESUMPTIONS
    while place.last and left:
        time.sleep(place.pause)
        before = place.last
        with session.exchange("GET", head={"last-event-id": before}) as rest:
            if rest.status != 200:
                return
            yield from place.read(rest)
        left = left - 1 if place.last == before else MOST_RESUMPTIONS


def listened(session: BridgeSession, ended: threading.Event) -> Iterator[bytes]:
    """Yield what the server says on its own, until ``ended``; a gateway that is away is awaited, and never started."""
    place, pause = _Place(), _FIRST_PAUSE
    while not ended.wait(0) and place.offered:
        try:
            yield from _stream(session, place)
            pause = place.pause
        except Forgotten as forgotten:
            place = _Place()
            with contextlib.suppress(ThvError):
                session.renew(str(forgotten))
        except (Lost, OSError, ThvError, ValueError):
            pause = min(pause * 2, _LONGEST_PAUSE)
        ended.wait(pause)


def _stream(session: BridgeSession, place: _Place) -> Iterator[bytes]:
    head = {"last-event-id": place.last} if place.last else {}
    with session.exchange("GET", patient=False, head=head) as response:
        place.offered = response.status != 405
        if response.status >= 500:
            raise Lost(f"HTTP {response.status}")
        if response.status == 200:
            yield from place.read(response)
