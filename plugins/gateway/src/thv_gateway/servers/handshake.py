"""Handshakes with servers: what is asked, what is kept of the answer, and where it survives this process.

``handshakes.json`` (atomic, 0600) holds for each incarnation the raw ``InitializeResult``, the names of the tools and
whether it keeps sessions. A server is initialised once in its life, however often the gateway is restarted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.messages.versions import LATEST, negotiated
from thv_gateway.pipes.noise import printable

__all__ = [
    "HANDSHAKES_FILE",
    "UNREADABLE",
    "Handshake",
    "Handshakes",
    "Refused",
    "handshake_of",
    "initialize_request",
    "initialize_result",
    "write_private",
]

HANDSHAKES_FILE = "handshakes.json"

MAX_RESULT = 1024 * 1024
"""What servers say of themselves is kept for all of them in one file."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised for a file that is not what was written: a disk may be full, or broken."""

_logger = logging.getLogger("thv.gateway")

_VERSION = re.compile(r"[0-9A-Za-z.-]{1,32}")

_PARAMS: dict[str, bytes] = {
    "protocolVersion": b'"%s"' % LATEST.encode(),
    "capabilities": b'{"roots":{"listChanged":true},"sampling":{},"elicitation":{}}',
}


class Refused(Exception):
    """A server refuses to initialize, or answers as none; the text says why."""


class Handshake(msgspec.Struct, kw_only=True):
    """What one incarnation said of itself.

    ``tools`` is ``None`` until they were listed. ``stateful`` tells that it keeps sessions of its own.
    """

    result: msgspec.Raw
    tools: tuple[str, ...] | None = None
    stateful: bool = False

    @property
    def version(self) -> str:
        """The protocol revision that the server chose, empty when it is none."""
        chosen = text_of(members(bytes(self.result)).get("protocolVersion", b""))
        return chosen if _VERSION.fullmatch(chosen) else ""

    def offers(self, capability: str) -> bool:
        """Tell whether the server declared a capability."""
        return capability in members(members(bytes(self.result)).get("capabilities", b""))


class Handshakes:
    """The handshakes of all live incarnations, kept in one file; what is not written now is with the next change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Handshake] = {}
        # A file that cannot be read costs one more initialize, which servers bear.
        with contextlib.suppress(OSError, *UNREADABLE):
            self._known = msgspec.json.decode(path.read_bytes(), type=dict[str, Handshake])

    def of(self, incarnation: str) -> Handshake | None:
        """Return the stored handshake of an incarnation."""
        return self._known.get(incarnation)

    def keep(self, incarnation: str, handshake: Handshake) -> None:
        """Store a new or changed handshake."""
        self._known[incarnation] = handshake
        self._save()

    def retain(self, incarnations: Iterable[str]) -> None:
        """Forget every incarnation but these."""
        wanted = set(incarnations)
        if not self._known.keys() <= wanted:
            self._known = {name: each for name, each in self._known.items() if name in wanted}
            self._save()

    def _save(self) -> None:
        try:
            write_private(self._path, msgspec.json.encode(self._known))
        except OSError as error:
            # Whoever is served goes on: a full disk must not keep a route from its next life.
            _logger.error("what servers said of themselves was not written: %s", error.strerror)


def initialize_request(incarnation: str) -> Message:
    """Return the request for a new incarnation.

    Its id is fixed: an answer to the request of a predecessor that was killed while it waited is as good.
    """
    identifier = msgspec.json.encode(f"thv-initialize-{incarnation}")
    info = msgspec.json.encode({"name": "thv", "version": version("thv-gateway")})
    params = {**_PARAMS, "clientInfo": info}
    return Message(kind=Kind.REQUEST, id=identifier, method="initialize", params=params, has_params=True)


def handshake_of(response: Message) -> Handshake:
    """Return what a server answered to ``initialize``.

    :raises Refused: when it refused, or its answer is none.
    """
    if response.error:
        raise Refused(printable(text_of(members(response.error).get("message", b""))) or "without a reason")
    if len(response.result) > MAX_RESULT:
        raise Refused(f"its answer has more than {MAX_RESULT} bytes")
    handshake = Handshake(result=msgspec.Raw(response.result))
    if not handshake.version:
        raise Refused("its answer names no protocol version")
    return handshake


def initialize_result(handshake: Handshake, asked: str) -> tuple[bytes, str]:
    """Return the raw result for a client that asked for a revision, and the revision of its session."""
    agreed = negotiated(asked, handshake.version)
    result = members(bytes(handshake.result))
    return with_members({**result, "protocolVersion": b'"%s"' % agreed.encode()}), agreed


def write_private(path: Path, data: bytes) -> None:
    """Replace a file at once; it is readable by its owner only."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    fresh.replace(path)
