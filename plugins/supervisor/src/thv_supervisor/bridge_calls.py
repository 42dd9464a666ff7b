"""The requests of a bridge's client in flight, and how one is sent in each era."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from thv_supervisor.modern_heads import Mirrors, modern_head, modern_version

__all__ = ["LISTEN", "REPEATABLE", "Call"]

LISTEN = "subscriptions/listen"
"""The request of the modern era that is answered when the server or the client is tired of it."""

REPEATABLE = frozenset(
    {
        *("initialize", "ping", "completion/complete", "logging/setLevel", "prompts/get", "prompts/list"),
        *("resources/list", "resources/read", "resources/subscribe", "resources/templates/list"),
        *("resources/unsubscribe", "tools/list", "server/discover", LISTEN),
    }
)
"""What may be asked again although the server may have heard it already; a tool is never called twice."""


def _not_yet() -> None:
    """Hang up nothing: nothing was sent."""


class Call:
    """One request in flight; ``sent`` is set as soon as its bytes are on their way, or never will be.

    ``is_over`` tells that its client wants no answer any more. In the modern era its end is that of its connection.
    """

    def __init__(self, line: bytes, message: dict[str, Any], mirrors: Mirrors) -> None:
        self.line = line
        self.message = message
        self.identifier: object = message["id"]
        self.method = str(message["method"])
        self.is_modern = bool(modern_version(message))
        self.sent = threading.Event()
        self.is_over = False
        self._mirrors = mirrors
        self._hang_up = _not_yet

    @property
    def key(self) -> str:
        """The id, which is a number or text."""
        return json.dumps(self.identifier)

    @property
    def head(self) -> Mapping[str, str]:
        """What the head of the request repeats of it."""
        return modern_head(self.message, self._mirrors) if self.is_modern else {}

    @property
    def names_tool(self) -> object:
        """The tool that is called in the modern era, whose arguments the head may have to repeat."""
        params: Any = self.message.get("params")
        return params.get("name") if self.is_modern and self.method == "tools/call" else None

    def listing(self) -> bytes:
        """Return a request for the tools, in the name of the same client."""
        meta = self.message["params"]["_meta"]
        asked = {"jsonrpc": "2.0", "id": "thv-tools", "method": "tools/list", "params": {"_meta": meta}}
        return json.dumps(asked).encode()

    def is_sent(self, hang_up: Any) -> None:
        """Note that its bytes are on their way, and what ends it."""
        self._hang_up = hang_up
        self.sent.set()
        if self.is_over:
            hang_up()

    def end(self) -> None:
        """End it without an answer."""
        self.is_over = True
        self._hang_up()
