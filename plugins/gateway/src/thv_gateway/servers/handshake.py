"""Handshakes with servers: what is asked, what is kept of the answer, and where it survives this process.

``handshakes.json`` (atomic, 0600) holds for each incarnation the raw ``InitializeResult``, the raw ``DiscoverResult``,
the names of the tools and whether it keeps sessions. A server is initialised once in its life, however often the
gateway is restarted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.envelope import SERVER_INFO, Envelope, enveloped, own_info
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.messages.versions import LATEST, LEGACY_VERSIONS, MODERN_VERSIONS, Era, negotiated
from thv_gateway.pipes.noise import printable

__all__ = [
    "HANDSHAKES_FILE",
    "UNREADABLE",
    "Handshake",
    "Handshakes",
    "Refused",
    "discover_request",
    "discovery_of",
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

_NOTHING = msgspec.Raw(b"{}")

_VERSION = re.compile(r"[0-9A-Za-z.-]{1,32}")

_PARAMS: dict[str, bytes] = {
    "protocolVersion": b'"%s"' % LATEST.encode(),
    "capabilities": b'{"roots":{"listChanged":true},"sampling":{},"elicitation":{}}',
}


_LEGACY_CAPABILITIES = frozenset({"completions", "experimental", "logging", "prompts", "resources", "tools"})
_NAMELESS = b'{"name":"server","version":"0"}'

_texts = msgspec.json.Decoder(list[str])


class Refused(Exception):
    """A server refuses to initialize, or answers as none; the text says why."""


class Handshake(msgspec.Struct, kw_only=True):
    """What one incarnation said of itself.

    ``result`` is its raw ``InitializeResult`` and ``discovered`` its raw ``DiscoverResult``, each an empty object when
    there is none. ``tools`` is ``None`` until they were listed. ``stateful`` tells that it keeps sessions of its own.
    """

    result: msgspec.Raw = _NOTHING
    tools: tuple[str, ...] | None = None
    stateful: bool = False
    discovered: msgspec.Raw = _NOTHING

    @property
    def eras(self) -> tuple[Era, ...]:
        """The eras in which it said something of itself."""
        told = {Era.LEGACY: self.result, Era.MODERN: self.discovered}
        return tuple(era for era, raw in told.items() if bytes(raw) != b"{}")

    @property
    def version(self) -> str:
        """The protocol revision that the server chose, the stateless one of a server without any other, or nothing."""
        chosen = text_of(members(bytes(self.result)).get("protocolVersion", b""))
        if not chosen and Era.MODERN in self.eras:
            return MODERN_VERSIONS[-1]
        return chosen if _VERSION.fullmatch(chosen) else ""

    @property
    def capabilities(self) -> dict[str, bytes]:
        """What the server declared that it can do, as raw members."""
        told = self.result if Era.LEGACY in self.eras else self.discovered
        return members(members(bytes(told)).get("capabilities", b""))

    def offers(self, capability: str) -> bool:
        """Tell whether the server declared a capability."""
        return capability in self.capabilities


class Handshakes:
    """The handshakes of all live incarnations, kept in one file; what is not written now is with the next change.

    :param writes: whether the file is this process's to write.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self._path = path
        self._writes = writes
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
        if not self._writes:
            return
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
    params = {**_PARAMS, "clientInfo": own_info()}
    return Message(kind=Kind.REQUEST, id=identifier, method="initialize", params=params, has_params=True)


def handshake_of(response: Message) -> Handshake:
    """Return what a server answered to ``initialize``.

    :raises Refused: when it refused, or its answer is none.
    """
    _check(response)
    handshake = Handshake(result=msgspec.Raw(response.result))
    if not handshake.version:
        raise Refused("its answer names no protocol version")
    return handshake


def discover_request(incarnation: str) -> Message:
    """Return the request that a server understands which knows no ``initialize``, with a fixed id as that one."""
    identifier = msgspec.json.encode(f"thv-discover-{incarnation}")
    params = enveloped({}, Envelope())
    return Message(kind=Kind.REQUEST, id=identifier, method="server/discover", params=params, has_params=True)


def discovery_of(response: Message) -> Handshake:
    """Return what a server answered to ``server/discover``.

    :raises Refused: when it refused, or does not speak a revision that is known here.
    """
    _check(response)
    try:
        spoken = _texts.decode(members(response.result).get("supportedVersions", b"[]"))
    except msgspec.DecodeError:
        spoken = []
    if not set(spoken) & set(MODERN_VERSIONS):
        raise Refused("its answer to server/discover names no protocol version that is known here")
    return Handshake(discovered=msgspec.Raw(response.result))


def initialize_result(handshake: Handshake, asked: str) -> tuple[bytes, str]:
    """Return the raw result for a client that asked for a revision, and the revision of its session."""
    if Era.LEGACY in handshake.eras:
        result, agreed = members(bytes(handshake.result)), negotiated(asked, handshake.version)
    else:
        result, agreed = _introduced(handshake), asked if asked in LEGACY_VERSIONS else LATEST
    return with_members({**result, "protocolVersion": b'"%s"' % agreed.encode()}), agreed


def _introduced(handshake: Handshake) -> dict[str, bytes]:
    """Return the ``InitializeResult`` of a server that has none (MCP 2025-11-25, lifecycle), from what it has."""
    told = members(bytes(handshake.discovered))
    declared = {name: raw for name, raw in handshake.capabilities.items() if name in _LEGACY_CAPABILITIES}
    info = members(told.get("_meta", b"")).get(SERVER_INFO, _NAMELESS)
    said = {"instructions": told["instructions"]} if "instructions" in told else {}
    return {"capabilities": with_members(declared), "serverInfo": info, **said}


def _check(response: Message) -> None:
    if response.error:
        raise Refused(printable(text_of(members(response.error).get("message", b""))) or "without a reason")
    if len(response.result) > MAX_RESULT:
        raise Refused(f"its answer has more than {MAX_RESULT} bytes")


def write_private(path: Path, data: bytes) -> None:
    """Replace a file at once; it is readable by its owner only."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    fresh.replace(path)
