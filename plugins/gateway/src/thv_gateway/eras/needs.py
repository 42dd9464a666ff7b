"""What a client has to be able to do for what a server asks it (MCP 2026-07-28, client capabilities)."""

from __future__ import annotations

from collections.abc import Mapping

from thv_core.model.message import Message
from thv_gateway.messages.parsing import members, text_of

__all__ = ["missing"]

Required = dict[str, dict[str, dict[str, object]]]

_NOTHING = (b"", b"null", b"false")


def missing(asked: Message, declared: Mapping[str, bytes]) -> Required | None:
    """Return the capabilities that a request needs and a client did not declare; ``None`` when it declared them.

    :param asked: a request of the server.
    :param declared: the raw members of the client's capabilities.
    """
    kind, parts = _needed(asked.method, asked.params)
    raw = declared.get(kind, b"")
    able = members(raw)
    if raw in _NOTHING:
        return {kind: {part: {} for part in parts}}
    # An empty elicitation is one by form: there were no others once.
    if parts == ("form",) and "url" not in able:
        return None
    lacks = [part for part in parts if able.get(part, b"") in _NOTHING]
    return {kind: {part: {} for part in lacks}} if lacks else None


def _needed(method: str, params: Mapping[str, bytes]) -> tuple[str, tuple[str, ...]]:
    if method == "elicitation/create":
        return "elicitation", ("url",) if text_of(params.get("mode", b"")) == "url" else ("form",)
    if method == "sampling/createMessage":
        return "sampling", ("tools",) if "tools" in params or "toolChoice" in params else ()
    return "roots", ()
