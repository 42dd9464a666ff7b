"""Tell which era a request speaks (MCP 2026-07-28, versioning; reference: the SDKs decide by the header alone).

``initialize`` is of the era of handshakes unless header and body say otherwise, and an explicit header of that era wins
over stray keys in ``_meta``. A sign of the modern era is never silently taken for the other one.
"""

from __future__ import annotations

import msgspec

from thv_core.model.message import Message
from thv_gateway.messages.envelope import PROTOCOL_VERSION
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.messages.versions import LEGACY_VERSIONS, Era

__all__ = ["era_of", "meta_of"]

_LEGACY = frozenset(version.encode() for version in LEGACY_VERSIONS)


def era_of(message: Message | None, version: bytes | None) -> Era:
    """Return the era of a request.

    :param message: its body, ``None`` when it has none.
    :param version: the value of its ``MCP-Protocol-Version``, ``None`` when there is none.
    """
    if message is not None and message.method == "initialize" and not _claims_modern(message):
        return Era.LEGACY
    if version is not None:
        return Era.LEGACY if version.strip(b" \t") in _LEGACY else Era.MODERN
    return Era.MODERN if message is not None and _claims_modern(message) else Era.LEGACY


def meta_of(message: Message) -> dict[str, bytes]:
    """Return the raw members of ``params._meta``."""
    try:
        return members(message.params.get("_meta", b""))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _claims_modern(message: Message) -> bool:
    claimed = meta_of(message).get(PROTOCOL_VERSION)
    return claimed is not None and text_of(claimed) not in LEGACY_VERSIONS
