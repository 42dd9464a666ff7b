"""What every wire over HTTP has to know of its server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thv_core.model.message import Message
from thv_gateway.client.http_client import HttpClient

__all__ = ["Fields", "Take", "Way", "at_once", "nobody"]

Fields = tuple[tuple[bytes, bytes], ...]

Take = Callable[[Message, bytes], object]
"""Takes a message of the server, and the key of the call on whose answer it came, which may be empty."""


def nobody(*_: object) -> None:
    """Tell nobody."""


def at_once() -> float:
    """Return for how many seconds to rest when nobody asks for it."""
    return 0.0


def _none() -> Fields:
    return ()


@dataclass(frozen=True)
class Way:
    """How a server is reached.

    ``name`` begins sentences about it. ``patience`` is how many seconds it may be silent on the answer to one message.
    ``fields`` returns header fields of each request. ``note`` writes an event and its detail to the proxy log.
    ``suspect`` is called when the server accepted no connection, or broke one.
    """

    client: HttpClient
    name: str
    patience: float = 300.0
    fields: Callable[[], Fields] = _none
    note: Callable[[str, str], None] = nobody
    suspect: Callable[[], None] = nobody
