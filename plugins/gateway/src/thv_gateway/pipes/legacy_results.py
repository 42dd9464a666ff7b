"""What a server of the stateless era answers, as a server of the era of handshakes would have (MCP 2025-11-25)."""

from __future__ import annotations

from collections.abc import Mapping

from thv_gateway.messages.answers import INTERNAL_ERROR, INVALID_PARAMS, RESOURCE_NOT_FOUND, failure
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.envelope import unreserved
from thv_gateway.messages.parsing import members, text_of

__all__ = ["COMPLETE", "INPUT_REQUIRED", "kind_of", "legacy_error", "legacy_result"]

COMPLETE = "complete"
INPUT_REQUIRED = "input_required"

_NEW = frozenset({"resultType", "ttlMs", "cacheScope"})


def kind_of(result: Mapping[str, bytes]) -> str:
    """Return the ``resultType`` of a result; one that names none is complete (MCP 2026-07-28, base protocol)."""
    return text_of(result["resultType"]) if "resultType" in result else COMPLETE


def legacy_result(result: Mapping[str, bytes]) -> bytes:
    """Return a raw complete result without what that era does not know."""
    kept = {name: raw for name, raw in result.items() if name not in _NEW}
    if "_meta" in kept:
        meta = unreserved(members(kept.pop("_meta")))
        kept |= {"_meta": with_members(meta)} if meta else {}
    if kept.get("structuredContent", b"{")[:1] != b"{":
        # Its schema there is an object, and a client refuses the whole result for it; the content says it as well.
        del kept["structuredContent"]
    return with_members(kept)


def legacy_error(method: str, error: bytes) -> bytes:
    """Return a raw error with the code of that era: a resource that is not found has one of its own there."""
    told = members(error)
    unknown = told.get("code") == b"%d" % INVALID_PARAMS and "uri" in members(told.get("data", b""))
    if method == "resources/read" and unknown:
        return with_members({**told, "code": b"%d" % RESOURCE_NOT_FOUND})
    return error if told else failure(b"", INTERNAL_ERROR, "The server answered with an error that says nothing").error
