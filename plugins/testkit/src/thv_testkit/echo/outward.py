"""The tools of the echo server that reach out, as programs do: by name or address, with and without the proxy."""

from __future__ import annotations

import socket
from typing import Any

from thv_testkit.echo.calls import Call, Tool, ToolFailed, structured, text_result

__all__ = ["OUTWARD"]

Json = dict[str, Any]

_WITHIN = 5.0
_MOST = 1 << 20


def _connect(call: Call) -> Json:
    """Connect to a TCP port of a name or address; with a text, send that and return what comes back first."""
    host, port = call.argument("host", str), call.argument("port", int)
    text = call.argument("text", str, "")
    try:
        with socket.create_connection((host, port), timeout=_WITHIN) as connection:
            if not text:
                return text_result("connected")
            connection.sendall(text.encode())
            return text_result(connection.recv(_MOST).decode("utf-8", "replace"))
    except OSError as failure:
        raise ToolFailed(f"cannot connect to {host}:{port}: {failure}") from None


def _datagram(call: Call) -> Json:
    """Send a text to a UDP port of an address and return what comes back."""
    host, port = call.argument("host", str), call.argument("port", int)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_WITHIN)
            sender.connect((host, port))
            sender.send(call.argument("text", str, "hello").encode())
            return text_result(sender.recv(65536).decode("utf-8", "replace"))
    except OSError as failure:
        raise ToolFailed(f"no answer from {host}:{port}: {failure}") from None


def _resolve(call: Call) -> Json:
    """Return the addresses of a name."""
    host: str = call.argument("host", str)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as failure:
        raise ToolFailed(f"cannot resolve {host}: {failure}") from None
    return structured({"addresses": [each[4][0] for each in found]})


def _fetch(call: Call) -> Json:
    """Fetch a URL and return its status and body; ``proxied`` false ignores the proxy variables."""
    # These take longer to import than the whole server to start.
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, build_opener

    url, proxied = call.argument("url", str), call.argument("proxied", bool, default=True)
    opener = build_opener(*(() if proxied else (ProxyHandler({}),)))
    try:
        with opener.open(url, timeout=_WITHIN) as response:
            body: bytes = response.read(_MOST)
            return structured({"status": response.status, "body": body.decode("utf-8", "replace")})
    except HTTPError as answer:
        with answer:
            return structured({"status": answer.code, "body": answer.read(_MOST).decode("utf-8", "replace")})
    except (OSError, HTTPException, ValueError) as failure:
        raise ToolFailed(f"cannot fetch {url}: {failure}") from None


OUTWARD = (
    Tool(_connect, "host", "port", host="string", port="integer", text="string"),
    Tool(_datagram, "host", "port", host="string", port="integer", text="string"),
    Tool(_resolve, "host", host="string"),
    Tool(_fetch, "url", url="string", proxied="boolean"),
)
"""These wait: a transport goes on reading meanwhile."""
