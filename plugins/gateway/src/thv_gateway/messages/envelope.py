"""The envelope of a message in the stateless era: the reserved keys of ``_meta``, made anew on each hop.

Source: MCP 2026-07-28, base protocol, ``_meta``; ``traceparent``, ``tracestate`` and ``baggage`` are not reserved and
pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version

import msgspec

from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.parsing import members
from thv_gateway.messages.versions import MODERN_VERSIONS

__all__ = [
    "CAPABILITIES",
    "CLIENT_INFO",
    "LOG_LEVEL",
    "PROTOCOL_VERSION",
    "SERVER_INFO",
    "SUBSCRIPTION_ID",
    "Envelope",
    "enveloped",
    "own_info",
    "unreserved",
    "with_subscription",
]

_RESERVED = "io.modelcontextprotocol/"
_PASSED = frozenset({_RESERVED + "related-task", _RESERVED + "model-immediate-response"})

PROTOCOL_VERSION = _RESERVED + "protocolVersion"
CLIENT_INFO = _RESERVED + "clientInfo"
CAPABILITIES = _RESERVED + "clientCapabilities"
LOG_LEVEL = _RESERVED + "logLevel"
SUBSCRIPTION_ID = _RESERVED + "subscriptionId"
SERVER_INFO = _RESERVED + "serverInfo"

_VERSION = msgspec.json.encode(MODERN_VERSIONS[-1])


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who asks, as raw JSON: ``info`` of the client, ours when it is empty, and the ``level`` of logs it wants."""

    capabilities: bytes = b"{}"
    info: bytes = b""
    level: bytes = b""

    @classmethod
    def of(cls, params: Mapping[str, bytes]) -> Envelope:
        """Return what the parameters of a client of the stateless era say of it."""
        meta = members(params.get("_meta", b""))
        return cls(meta.get(CAPABILITIES, b"{}"), meta.get(CLIENT_INFO, b""), meta.get(LOG_LEVEL, b""))

    def members(self) -> dict[str, bytes]:
        """Return the reserved keys of a request."""
        level = {LOG_LEVEL: self.level} if self.level else {}
        info = self.info or own_info()
        return {PROTOCOL_VERSION: _VERSION, CLIENT_INFO: info, CAPABILITIES: self.capabilities, **level}


def enveloped(params: Mapping[str, bytes], envelope: Envelope) -> dict[str, bytes]:
    """Return the parameters of a request with the envelope of this hop in the place of any other."""
    kept = unreserved(members(params.get("_meta", b"")))
    return {**params, "_meta": with_members({**kept, **envelope.members()})}


def unreserved(meta: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what of ``_meta`` passes from one hop to the next."""
    return {key: raw for key, raw in meta.items() if not key.startswith(_RESERVED) or key in _PASSED}


def with_subscription(holder: Mapping[str, bytes], identifier: bytes) -> dict[str, bytes]:
    """Return parameters, or the members of a result, that name another subscription if they name one."""
    meta = members(holder.get("_meta", b""))
    if SUBSCRIPTION_ID not in meta:
        return dict(holder)
    return {**holder, "_meta": with_members({**meta, SUBSCRIPTION_ID: identifier})}


@lru_cache(maxsize=1)
def own_info() -> bytes:
    """Return who the gateway is, as raw ``Implementation``."""
    return msgspec.json.encode({"name": "thv", "version": version("thv-gateway")})
