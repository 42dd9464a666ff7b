"""What a session was told and a session in its place has to be told again (MCP 2025-11-25, logging and resources)."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["Memory"]

MOST_SUBSCRIPTIONS = 1000


class Memory:
    """The level of logs, and the resources that are subscribed to; safe to use from any thread."""

    def __init__(self) -> None:
        self._level: object = None
        self._resources: dict[str, None] = {}
        self._lock = threading.Lock()

    def note(self, method: str, message: Mapping[str, Any]) -> None:
        """Remember a request that was granted, if a later session has to hear of it."""
        params: object = message.get("params")
        known: Mapping[str, Any] = cast("Mapping[str, Any]", params) if isinstance(params, dict) else {}
        uri = known.get("uri")
        with self._lock:
            if method == "logging/setLevel":
                self._level = known.get("level")
            elif method == "resources/subscribe" and isinstance(uri, str) and len(self._resources) < MOST_SUBSCRIPTIONS:
                self._resources[uri] = None
            elif method == "resources/unsubscribe" and isinstance(uri, str):
                self._resources.pop(uri, None)

    def clear(self) -> None:
        """Forget everything: the client itself begins anew."""
        with self._lock:
            self._level = None
            self._resources.clear()

    def lines(self) -> list[bytes]:
        """Return the requests that tell it, with ids that no client draws."""
        with self._lock:
            asked: list[tuple[str, dict[str, object]]] = [
                ("resources/subscribe", {"uri": uri}) for uri in self._resources
            ]
            if self._level is not None:
                asked.insert(0, ("logging/setLevel", {"level": self._level}))
        return [
            json.dumps({"jsonrpc": "2.0", "id": f"thv-again-{number}", "method": method, "params": params}).encode()
            for number, (method, params) in enumerate(asked)
        ]
