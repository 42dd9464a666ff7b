"""Judge the head of a request before anyone else sees it: its target, its version and its framing.

What two readers could read differently is refused and the connection closed, because whatever follows on it may be
part of a body (RFC 9112, 3.2, 6.3 and 11.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INVALID_REQUEST, LEGACY_ERROR, refusal

__all__ = ["NOWHERE", "Heading", "Target", "judged", "parsed"]

_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for; ``authority`` is that of an absolute form, which replaces ``Host``."""

    path: str
    query: bytes = b""
    authority: bytes = b""


NOWHERE = Target("")


class Heading:
    """The head of a request, lower-case names in ``headers`` and the last value of each in ``fields``.

    Most clients send the same head again and again; then this is the same object again. So whoever has judged it, or
    has written what follows from it, may note that here: ``passed`` is the chain whose judges of heads let it pass,
    ``written`` is for the endpoint that answers it.
    """

    __slots__ = ("fields", "headers", "method", "passed", "target", "written")

    def __init__(
        self,
        method: str = "",
        target: Target = NOWHERE,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        fields: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.fields: Mapping[bytes, bytes] = dict(headers) if fields is None else fields
        self.passed: object = None
        self.written: object = None


@lru_cache(maxsize=256)
def parsed(target: bytes) -> Target | None:
    """Return the target of a request, or ``None`` when it is none (RFC 9112, 3.2)."""
    authority = b""
    scheme = target[:8].lower()
    if scheme.startswith((b"http://", b"https://")):
        authority, slash, rest = target[target.index(b"//") + 2 :].partition(b"/")
        if not authority or b"?" in authority or b"@" in authority:
            return None
        target = slash + rest or b"/"
    raw, _, query = target.partition(b"?")
    try:
        path = unquote_to_bytes(raw).decode() if b"%" in raw else raw.decode("ascii")
        return Target(path, query, authority) if path.isprintable() else None
    except UnicodeDecodeError:
        return None


def judged(
    target: Target | None, version: str, headers: Sequence[tuple[bytes, bytes]], fields: Mapping[bytes, bytes]
) -> Reply | None:
    """Return why a request cannot be answered at all, or nothing."""
    if version not in ("1.1", "1.0"):
        return refusal(505, INVALID_REQUEST, "Only HTTP/1.1 and HTTP/1.0 are spoken here")
    if target is None:
        return refusal(400, INVALID_REQUEST, "The target of the request is none")
    if len(fields) != len(headers) and _repeats(headers):
        return refusal(400, INVALID_REQUEST, "A header is given more than once")
    if b"host" not in fields and version == "1.1":
        return refusal(400, INVALID_REQUEST, "Host is required")
    if b"transfer-encoding" in fields and (version == "1.0" or fields[b"transfer-encoding"].lower() != b"chunked"):
        return refusal(400, INVALID_REQUEST, "Only the transfer encoding chunked of HTTP/1.1 is read here")
    if b"expect" in fields and fields[b"expect"].lower() != b"100-continue":
        return refusal(417, LEGACY_ERROR, "Only 100-continue can be expected")
    return None


def _repeats(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    names = [name for name, _ in headers if name in _FRAMING]
    return len(names) != len(set(names))
