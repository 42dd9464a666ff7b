"""The tools of the echo server: each does one thing that a test wants to see a server do."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

__all__ = ["SLOW", "TOOLS", "Call", "Cancelled", "Refusal", "Tool", "ToolFailed", "part"]

Json = dict[str, Any]
Ask = Callable[[str, Json, Callable[[Json], None]], Json]

_LOG_LEVEL = "io.modelcontextprotocol/logLevel"
_CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_QUESTIONS: dict[str, tuple[str, Json]] = {
    "elicitation": (
        "elicitation/create",
        {
            "message": "Who is there?",
            "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
    ),
    "sampling": (
        "sampling/createMessage",
        {"messages": [{"role": "user", "content": {"type": "text", "text": "Say something."}}], "maxTokens": 10},
    ),
}


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


def _text(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}]}


def _structured(value: Json) -> Json:
    return _text(json.dumps(value)) | {"structuredContent": value}


def _echo(call: Call) -> Json:
    """Return the text."""
    return _text(call.argument("text", str))


def _count(call: Call) -> Json:
    """Return how often this tool was called in the life of this process, and its pid."""
    return _structured({"count": call.count, "pid": os.getpid()})


def _sleep(call: Call) -> Json:
    """Sleep so many seconds, reporting progress in so many steps."""
    seconds, steps = call.argument("seconds", float), call.argument("steps", int, 10)
    if not (0 <= seconds <= 600 and 1 <= steps <= 1000):
        raise ToolFailed("sleeps 0 to 600 seconds, in 1 to 1000 steps")
    for step in range(1, steps + 1):
        if call.cancelled.wait(seconds / steps):
            raise Cancelled
        if "progressToken" in call.meta:
            token = call.meta["progressToken"]
            call.notify("notifications/progress", {"progressToken": token, "progress": step, "total": steps})
    return _text(f"slept {seconds:g} seconds")


def _log(call: Call) -> Json:
    """Send log messages to the client; a modern client must have asked for them."""
    data, times = call.argument("text", str), call.argument("times", int, 1)
    if call.ask is not None or _LOG_LEVEL in call.meta:
        for _ in range(min(times, 10_000)):
            call.notify("notifications/message", {"level": "info", "logger": "echo", "data": data})
    return _text("logged")


def _ask(call: Call) -> Json:
    """Ask the client a question (elicitation or sampling) and return its answer."""
    kind = call.argument("kind", str, "elicitation")
    if kind not in _QUESTIONS:
        raise ToolFailed(f"asks by {' or '.join(_QUESTIONS)}")
    method, params = _QUESTIONS[kind]
    if call.ask is not None:
        return _structured(call.ask(method, params, call.send))
    if "inputResponses" in call.params:
        return _structured(part(part(call.params, "inputResponses"), "answer"))
    if kind not in part(call.meta, _CLIENT_CAPABILITIES):
        raise Refusal(-32021, f"the client lacks {kind}", {"requiredCapabilities": {kind: {}}}, status=400)
    question = {"answer": {"method": method, "params": params}}
    return {"resultType": "input_required", "inputRequests": question, "requestState": "asked"}


def _environment(call: Call) -> Json:
    """Return the names of the environment variables, or the value of one."""
    name = call.arguments.get("name")
    return _structured({"names": sorted(os.environ)} if name is None else {"value": os.environ.get(str(name))})


def _stderr(call: Call) -> Json:
    """Write a line to standard error."""
    sys.stderr.write(call.argument("text", str) + "\n")
    sys.stderr.flush()
    return _text("written")


def _read(call: Call) -> Json:
    """Return the text of a file, or the names in a folder."""
    path: str = call.argument("path", str)
    try:
        if os.path.isdir(path):  # noqa: PTH112 - pathlib would add a fifth to the time this server starts in
            return _text("\n".join(sorted(os.listdir(path))))  # noqa: PTH208 - as above
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as above
            return _text(file.read(1 << 20))
    except OSError as failure:
        raise ToolFailed(f"cannot read {path}: {failure.strerror}") from None


def _write(call: Call) -> Json:
    """Write a text to a file."""
    path, text = call.argument("path", str), call.argument("text", str)
    try:
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib is slow to import
            file.write(text)
    except OSError as failure:
        raise ToolFailed(f"cannot write {path}: {failure.strerror}") from None
    return _text("written")


def _connect(call: Call) -> Json:
    """Connect to a TCP port of an address."""
    target = (call.argument("host", str), call.argument("port", int))
    try:
        socket.create_connection(target, timeout=5).close()
    except OSError as failure:
        raise ToolFailed(f"cannot connect to {target[0]}:{target[1]}: {failure}") from None
    return _text("connected")


def _crash(call: Call) -> Json:
    """End the process at once with an exit code, after a line on standard error."""
    sys.stderr.write("echo: crashes, as it was told\n")
    sys.stderr.flush()
    os._exit(call.argument("code", int, 1))


_ALL = (
    Tool(_echo, "text", text="string"),
    Tool(_count),
    Tool(_sleep, "seconds", seconds="number", steps="integer"),
    Tool(_log, "text", text="string", times="integer"),
    Tool(_ask, kind="string"),
    Tool(_environment, name="string"),
    Tool(_stderr, "text", text="string"),
    Tool(_read, "path", path="string"),
    Tool(_write, "path", "text", path="string", text="string"),
    Tool(_connect, "host", "port", host="string", port="integer"),
    Tool(_crash, code="integer"),
)
TOOLS: dict[str, Tool] = {tool.document["name"]: tool for tool in _ALL}
SLOW = frozenset({"sleep", "ask", "connect"})
"""The tools that wait; a transport must go on reading meanwhile."""
