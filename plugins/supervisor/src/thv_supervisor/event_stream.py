"""Read server-sent events from an HTTP response, one by one and bounded (WHATWG HTML, server-sent events)."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["MOST_BYTES", "Event", "bodies", "events"]

MOST_BYTES = 64 * 1024 * 1024
"""More than one message may have: what the gateway takes for one."""


class Event(NamedTuple):
    """One event: its ``data``, the ``identifier`` to go on behind, and the milliseconds that ``retry`` asks for.

    ``kind`` is what the field ``event`` says, ``message`` when it is not there.
    """

    data: bytes
    identifier: str = ""
    retry: int = -1
    kind: str = "message"


def bodies(response: http.client.HTTPResponse) -> Iterator[Event]:
    """Yield what a response holds: the events of a stream, or its body as if it were the only one.

    :raises ValueError: when an event, or the body, is too large.
    """
    if response.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream":
        yield from events(response)
        return
    if (response.length or 0) > MOST_BYTES:
        raise ValueError("the body is too large")
    # Only a body whose length was told can be read to that end, and is known to be cut when it is shorter.
    body = response.read() if response.length is not None else response.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise ValueError("the body is too large")
    yield Event(body)


def events(response: http.client.HTTPResponse) -> Iterator[Event]:
    """Yield the events of a response until it ends; those without data as well, such as what keeps a stream alive.

    :raises ValueError: when an event is too large.
    """
    data: list[bytes] = []
    fields: dict[bytes, bytes] = {}
    size = 0
    while line := response.readline(MOST_BYTES):
        size += len(line)
        if size > MOST_BYTES:
            raise ValueError("an event is too large")
        text = line.rstrip(b"\r\n")
        if text:
            name, _, value = text.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            else:
                fields[name] = value
            continue
        yield _event(data, fields)
        data, fields, size = [], {}, 0


def _event(data: list[bytes], fields: dict[bytes, bytes]) -> Event:
    retry = fields.get(b"retry", b"")
    return Event(
        b"\n".join(data),
        fields.get(b"id", b"").decode("utf-8", "replace"),
        int(retry) if retry.isdigit() and len(retry) < 8 else -1,
        fields.get(b"event", b"").decode("utf-8", "replace") or "message",
    )
