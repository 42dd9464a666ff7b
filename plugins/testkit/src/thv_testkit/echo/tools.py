"""The tools of the echo server: each does one thing that a test wants to see a server do."""

from __future__ import annotations

import os
import sys
from typing import Any

from thv_testkit.echo.calls import Call, Cancelled, Refusal, Tool, ToolFailed, part, structured, text_result
from thv_testkit.echo.excess import EXCESS
from thv_testkit.echo.outward import OUTWARD

__all__ = ["SLOW", "TOOLS"]

Json = dict[str, Any]

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


def _echo(call: Call) -> Json:
    """Return the text."""
    return text_result(call.argument("text", str))


def _count(call: Call) -> Json:
    """Return how often this tool was called in the life of this process, and its pid."""
    return structured({"count": call.count, "pid": os.getpid()})


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
    return text_result(f"slept {seconds:g} seconds")


def _log(call: Call) -> Json:
    """Send log messages to the client; a modern client must have asked for them."""
    data, times = call.argument("text", str), call.argument("times", int, 1)
    if call.ask is not None or _LOG_LEVEL in call.meta:
        for _ in range(min(times, 10_000)):
            call.notify("notifications/message", {"level": "info", "logger": "echo", "data": data})
    return text_result("logged")


def _ask(call: Call) -> Json:
    """Ask the client a question (elicitation or sampling) and return its answer."""
    kind = call.argument("kind", str, "elicitation")
    if kind not in _QUESTIONS:
        raise ToolFailed(f"asks by {' or '.join(_QUESTIONS)}")
    method, params = _QUESTIONS[kind]
    if call.ask is not None:
        return structured(call.ask(method, params, call.send))
    if "inputResponses" in call.params:
        return structured(part(part(call.params, "inputResponses"), "answer"))
    if kind not in part(call.meta, _CLIENT_CAPABILITIES):
        raise Refusal(-32021, f"the client lacks {kind}", {"requiredCapabilities": {kind: {}}}, status=400)
    question = {"answer": {"method": method, "params": params}}
    return {"resultType": "input_required", "inputRequests": question, "requestState": "asked"}


def _environment(call: Call) -> Json:
    """Return the names of the environment variables, or the value of one."""
    name = call.arguments.get("name")
    return structured({"names": sorted(os.environ)} if name is None else {"value": os.environ.get(str(name))})


def _stderr(call: Call) -> Json:
    """Write a line to standard error."""
    sys.stderr.write(call.argument("text", str) + "\n")
    sys.stderr.flush()
    return text_result("written")


def _read(call: Call) -> Json:
    """Return the text of a file, or the names in a folder."""
    path: str = call.argument("path", str)
    try:
        if os.path.isdir(path):  # noqa: PTH112 - pathlib would add a fifth to the time this server starts in
            return text_result("\n".join(sorted(os.listdir(path))))  # noqa: PTH208 - as above
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as above
            return text_result(file.read(1 << 20))
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
    return text_result("written")


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
    Tool(_crash, code="integer"),
    *OUTWARD,
    *EXCESS,
)
TOOLS: dict[str, Tool] = {tool.document["name"]: tool for tool in _ALL}
SLOW = frozenset({"sleep", "ask", *(tool.document["name"] for tool in OUTWARD)})
"""The tools that wait; a transport must go on reading meanwhile."""
