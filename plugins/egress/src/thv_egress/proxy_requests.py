"""Requests to the HTTP proxy, and how they look when they are passed on (RFC 9110 §7.6, RFC 9112 §3.2; pure)."""

from __future__ import annotations

import re
from typing import NamedTuple

import h11

from thv_egress.parents import Parent, authority
from thv_egress.rules import canonical_target

__all__ = ["NotUnderstood", "Target", "for_client", "for_upstream", "target_of"]

WEB_PORT = 80

_AUTHORITY = re.compile(rb"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]@/?#]+))(?::(?P<port>[0-9]{1,5}))?\Z")
_ABSOLUTE = re.compile(rb"http://(?P<authority>[^/?#]*)(?P<path>[^#]*)\Z", re.IGNORECASE)

_OF_ONE_CONNECTION = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

_Header = tuple[bytes, bytes]
_Message = h11.Request | h11.Response | h11.InformationalResponse


class NotUnderstood(Exception):
    """A request that is none for a proxy; the message says why."""


class Target(NamedTuple):
    """What a request is about: the host in canonical form, its port, and the path, empty for a tunnel."""

    host: str
    port: int
    path: bytes = b""


def target_of(request: h11.Request) -> Target:
    """Return the target of a request.

    :raises NotUnderstood: when it is not in one of the two forms that a proxy is asked in.
    """
    if request.method == b"CONNECT":
        return _target(request.target, 0, b"")
    absolute = _ABSOLUTE.match(request.target)
    if absolute is None:
        if request.target.lower().startswith(b"https://"):
            raise NotUnderstood("https:// is reached with CONNECT, not with a plain request")
        raise NotUnderstood("this is a proxy: it takes CONNECT HOST:PORT, or requests for http://HOST/…")
    path = absolute["path"]
    if request.method == b"OPTIONS" and not path:
        path = b"*"
    return _target(absolute["authority"], WEB_PORT, path if path[:1] in (b"/", b"*") else b"/" + path)


def for_upstream(request: h11.Request, target: Target, parent: Parent | None) -> h11.Request:
    """Return a request as it is passed on: for one connection only, and with the host that was decided about."""
    host = authority(target.host, target.port).removesuffix(f":{WEB_PORT}")
    chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
    # Of two lengths the next proxy may believe the other one, and read a second request in the body (RFC 9112 §6.3).
    headers = [(b"Host", host.encode()), *_passed_on(request, b"host", *([b"content-length"] if chunked else []))]
    if chunked:
        headers.append((b"Transfer-Encoding", b"chunked"))
    if parent is not None and parent.authorization:
        headers.append((b"Proxy-Authorization", parent.authorization))
    path = target.path
    if parent is not None:
        # The last proxy of the chain makes an asterisk of the URL without a path (RFC 9112 §3.2.4).
        path = b"http://" + host.encode() + path.removeprefix(b"*")
    return h11.Request(method=request.method, target=path, headers=[*headers, (b"Connection", b"close")])


def for_client(response: h11.Response | h11.InformationalResponse) -> h11.Response | h11.InformationalResponse:
    """Return a response as it is passed back; how its body is framed is left to the connection."""
    return type(response)(status_code=response.status_code, reason=response.reason, headers=_passed_on(response))


def _target(text: bytes, default_port: int, path: bytes) -> Target:
    found = _AUTHORITY.match(text)
    port = int(found["port"] or default_port) if found else 0
    host = canonical_target((found["address"] or found["host"]).decode("latin-1")) if found else ""
    if not host or not 0 < port < 65536:
        raise NotUnderstood("the request does not name a host and port that can be reached")
    return Target(host, port, path)


def _passed_on(message: _Message, *without: bytes) -> list[_Header]:
    options = b",".join(value for name, value in message.headers if name == b"connection")
    named = {option.strip().lower() for option in options.split(b",")}
    left_out = _OF_ONE_CONNECTION | named - {b"content-length"} | set(without)
    return [(raw, value) for raw, value in message.headers.raw_items() if raw.lower() not in left_out]
