"""MCP over standard input and output: one JSON message a line (base protocol, stdio transport)."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any, cast

from thv_testkit.echo.calls import Refusal
from thv_testkit.echo.server import Echo, error

__all__ = ["serve_stdio"]

_AT_ONCE = 256
"""How many calls may wait at one time."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


class _Output:
    """Standard output, shared by threads: one write for each message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file = sys.stdout.buffer

    def send(self, message: dict[str, Any]) -> None:
        line = _encode(message).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()


def serve_stdio(server: Echo, *, garbage: int = 0, silent: bool = False) -> int:
    """Serve until standard input ends.

    :param garbage: so many lines that are not JSON are written first.
    :param silent: read everything and answer nothing.
    """
    output = _Output()
    if garbage:
        sys.stdout.write("this line is not JSON\n" * garbage)
        sys.stdout.flush()
    slots = threading.Semaphore(_AT_ONCE)
    for line in sys.stdin.buffer:
        if not silent:
            _take(line, server, output, slots)
    return 0


def _take(line: bytes, server: Echo, output: _Output, slots: threading.Semaphore) -> None:
    try:
        message: Any = json.loads(line)
    except ValueError:
        # An empty line is what a gateway writes to end a request that its predecessor left half written.
        if line.strip():
            output.send(error(None, Refusal(-32700, "this line is not JSON")))
        return
    if not isinstance(message, dict):
        output.send(error(None, Refusal(-32600, "a message is an object")))
        return
    request = cast("dict[str, Any]", message)
    if not server.is_slow(request):
        server.handle(request, output.send)
    elif slots.acquire(blocking=False):
        threading.Thread(target=_wait, args=(server, request, output, slots), daemon=True).start()
    else:
        output.send(error(request.get("id"), Refusal(-32000, f"{_AT_ONCE} calls are waiting already")))


def _wait(server: Echo, message: dict[str, Any], output: _Output, slots: threading.Semaphore) -> None:
    try:
        server.handle(message, output.send)
    finally:
        slots.release()
