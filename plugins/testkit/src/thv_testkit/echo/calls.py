"""The vocabulary of the echo server's tools: a call, what it may end in, and a tool."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, cast

__all__ = ["Call", "Cancelled", "Refusal", "Tool", "ToolFailed", "part", "structured", "text_result"]

Json = dict[str, Any]
Ask = Callable[[str, Json, Callable[[Json], None]], Json]


def part(container: Json, key: str) -> Json:
    """Return the object under ``key``, or an empty one."""
    value: Any = container.get(key)
    return cast("Json", value) if isinstance(value, dict) else {}


class Refusal(Exception):
    """A JSON-RPC error; ``status`` is its HTTP status in the modern era."""

    def __init__(self, code: int, message: str, data: Json | None = None, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.data, self.status = code, data, status


class ToolFailed(Exception):
    """A tool could not do what it was asked; the result says so with ``isError``."""


class Cancelled(Exception):
    """The client took its request back; nothing is answered."""


class Call:
    """One ``tools/call``; ``ask`` is None in the modern era, which has no requests from server to client."""

    def __init__(self, params: Json, send: Callable[[Json], None], cancelled: threading.Event, ask: Ask | None) -> None:
        self.params, self.send, self.cancelled, self.ask = params, send, cancelled, ask
        self.arguments = part(params, "arguments")
        self.meta = part(params, "_meta")
        self.count = 0

    def argument(self, name: str, kind: Callable[[Any], Any], default: Any = None) -> Any:
        """Return an argument as ``kind``; without a default it is required."""
        value = self.arguments.get(name, default)
        try:
            if value is not None:
                return kind(value)
        except (TypeError, ValueError):
            pass
        raise ToolFailed(f"the argument {name} is missing or has a wrong type")

    def notify(self, method: str, params: Json) -> None:
        """Send a notification to the client."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})


class Tool:
    """A tool: ``run`` takes a :class:`Call` and returns a result; its docstring describes it to the client."""

    def __init__(self, run: Callable[[Call], Json], *required: str, **properties: str) -> None:
        self.run = run
        schema = {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}}
        self.document: Json = {
            "name": run.__name__.strip("_"),
            "description": (run.__doc__ or "").strip(),
            "inputSchema": schema | ({"required": list(required)} if required else {}),
        }


def text_result(text: str) -> Json:
    """Return a result of text."""
    return {"content": [{"type": "text", "text": text}]}


def structured(value: Json) -> Json:
    """Return a result of data, and of its JSON as text."""
    return text_result(json.dumps(value)) | {"structuredContent": value}
