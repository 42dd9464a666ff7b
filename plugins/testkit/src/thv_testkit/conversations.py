"""Speak MCP with a server through the FIFOs that its runtime gives, one JSON message a line."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any, Self

from thv_core.spi import Stdio

__all__ = ["Conversation"]

Json = dict[str, Any]


class Conversation:
    """A client of one server, for tests; use it as a context manager, one at a time for each server.

    Both FIFOs are opened for reading and writing, as the gateway opens them, so that nobody sees an end-of-file.
    """

    def __init__(self, stdio: Stdio, within: float = 30.0) -> None:
        self._within = within
        self._into = os.open(stdio.stdin, os.O_RDWR | os.O_CLOEXEC)
        self._from = os.open(stdio.stdout, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        self._received = b""
        self._asked = time.monotonic_ns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._into)
        os.close(self._from)

    def tool(self, name: str, /, **arguments: object) -> Json:
        """Call a tool and return its result."""
        return self.request("tools/call", {"name": name, "arguments": arguments})

    def text(self, name: str, /, **arguments: object) -> str:
        """Call a tool and return the text of its result."""
        return str(self.tool(name, **arguments)["content"][0]["text"])

    def count(self) -> tuple[int, int]:
        """Return how often this server has counted, now included, and the pid that it has in its own eyes."""
        counted = self.tool("count")["structuredContent"]
        return int(counted["count"]), int(counted["pid"])

    def request(self, method: str, params: Json) -> Json:
        """Send a request and return its result; the answers to anyone else's requests are dropped."""
        # Ids never repeat, so that an answer that a former client left in the FIFO is not taken for ours.
        self._asked += 1
        self.send({"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params})
        while True:
            message = self.receive()
            if message.get("id") == self._asked:
                assert "result" in message, f"the server answered {message}"
                result: Json = message["result"]
                return result

    def send(self, message: Json) -> None:
        """Write one message."""
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._into, data) :]

    def receive(self) -> Json:
        """Read one message."""
        deadline = time.monotonic() + self._within
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self._from], [], [], max(left, 0))
            assert readable, f"the server wrote no line within {self._within:g} seconds"
            self._received += os.read(self._from, 65536)
        line, _, self._received = self._received.partition(b"\n")
        message: Json = json.loads(line)
        return message
