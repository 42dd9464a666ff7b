"""Header fields that may be added to the requests to a server, and origins of web pages (RFC 9110, RFC 6454)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from thv_core.errors import InvalidRequest
from thv_core.model.serving import HeaderForward

__all__ = ["checked_headers", "checked_origin"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\x21-\x7e\x80-\uffff](?:[\t\x20-\x7e\x80-\uffff]*[\x21-\x7e\x80-\uffff])?\Z")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[^\s/?#@*:\[\]A-Z]+)(?::[0-9]{1,5})?\Z")
_USUAL_PORT = re.compile(r"(?:http://.*:80|https://.*:443)\Z")

_OF_THE_CONNECTION = frozenset(
    {
        *("host", "connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings", "transfer-encoding"),
        *("content-length", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
    }
)
"""What ToolHive refuses, beside ``Proxy-*``."""

_OF_THE_PROTOCOL = frozenset(
    {
        *("accept", "content-type", "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version"),
        "mcp-session-id",
    }
)


def checked_headers(headers: HeaderForward) -> None:
    """Check the names and values of header fields; a value is never repeated in a message.

    :raises InvalidRequest: naming the first that cannot be meant.
    """
    names = [*headers.add_plaintext_headers, *headers.add_headers_from_secret]
    _distinct(names)
    for name in names:
        _checked_name(name)
    for name, value in headers.add_plaintext_headers.items():
        if not _VALUE.match(value):
            raise InvalidRequest(
                f"the header {name} has no value that a header can have",
                hint="Write visible characters on one line.",
            )
    for name, secret in headers.add_headers_from_secret.items():
        if not secret:
            raise InvalidRequest(f"the header {name} names no secret", hint=f"Write {name}=SECRET_NAME.")


def _checked_name(name: str) -> None:
    if not _NAME.match(name):
        raise InvalidRequest(f"{name!r} is not the name of a header", hint="Write Name=Value, such as X-Team=search.")
    lower = name.lower()
    if lower in _OF_THE_CONNECTION or lower.startswith("proxy-"):
        raise InvalidRequest(f"the header {name} belongs to the connection and cannot be added", hint="Leave it out.")
    if lower in _OF_THE_PROTOCOL:
        raise InvalidRequest(f"the header {name} belongs to MCP and cannot be added", hint="Leave it out.")


def _distinct(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise InvalidRequest(f"the header {name} is given twice", hint="Give it once, in the clear or by a secret.")
        seen.add(name.lower())


def checked_origin(text: str) -> None:
    """Check an ``Origin`` as browsers send it, which is compared exactly.

    :raises InvalidRequest: when no browser would send it.
    """
    if not _ORIGIN.match(text):
        raise InvalidRequest(
            f"{text!r} is not an origin",
            hint="Write scheme, host and port only, in lower case and exactly:  https://app.example.com",
        )
    if _USUAL_PORT.match(text):
        raise InvalidRequest(f"{text!r}: browsers leave the usual port out", hint=f"Write {text.rpartition(':')[0]}")
