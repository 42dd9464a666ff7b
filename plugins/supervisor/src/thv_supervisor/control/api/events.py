"""What happens to workloads, as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import msgspec
from litestar.response import Response

from thv_core.model.events import WorkloadEvent
from thv_supervisor.control.api.answering import Call
from thv_supervisor.control.api.operation import Answer, Contract, serves
from thv_supervisor.control.api.streaming import Stream, with_heartbeat
from thv_supervisor.control.feed import Feed, WorkloadProgress
from thv_supervisor.wire import EVENTS

__all__ = ["EventRoom"]

HEARTBEAT = 15.0
"""Seconds of silence after which a comment shows that the connection lives."""

PATIENCE = 30.0
"""Seconds that a listener may take nothing before it is let go."""

COMMENT = b": \n\n"
EVENT_STREAM = "text/event-stream"
TOLD = {200: Answer("An event for each change and for each step, from now on.", EVENT_STREAM, WorkloadEvent)}


class EventRoom:
    """The stream of events; a listener that falls behind is let go and may come back."""

    tag: ClassVar[str] = "events"

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    @serves("GET", EVENTS, Contract(answers=TOLD))
    async def events(self, call: Call) -> Response[Any]:
        """Tell each change of a status as ``workload`` and each step of a start or a change as ``progress``."""
        told = with_heartbeat(self._told(), COMMENT, HEARTBEAT)
        return Stream(told, 200, EVENT_STREAM, PATIENCE)

    async def _told(self) -> AsyncIterator[bytes]:
        # Whoever listens knows by the first comment that nothing escapes it from here on.
        listening = self._feed.listen()
        yield COMMENT
        async for event in listening:
            yield b"event: %s\ndata: %s\n\n" % (_kind(event), msgspec.json.encode(event))


def _kind(event: WorkloadEvent | WorkloadProgress) -> bytes:
    return b"workload" if isinstance(event, WorkloadEvent) else b"progress"
