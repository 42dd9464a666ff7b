"""What the echo server answers, whatever carries the messages (MCP 2024-11-05 to 2025-11-25, and 2026-07-28).

The era is chosen for each request: a request whose ``_meta`` names a protocol version is modern and stateless, every
other is legacy. One process serves both, because a test wants to ask the same counter in either era.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from thv_testkit.echo.calls import Call, Cancelled, Refusal, ToolFailed, part
from thv_testkit.echo.tools import SLOW, TOOLS

__all__ = ["ERAS", "LEGACY", "META", "MODERN", "Echo", "error"]

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
ERAS = {"both": (True, True), "legacy": (True, False), "modern": (False, True)}

_INFO = {"name": "thv-echo", "version": "1.0.0"}
_CAPABILITIES: dict[str, Any] = {"tools": {}, "logging": {}}
_CACHEABLE = {"ttlMs": 0, "cacheScope": "private"}
_ANSWER_WITHIN = 30.0

Json = dict[str, Any]
Send = Callable[[Json], None]


def error(request: Any, refusal: Refusal) -> Json:
    """Return the error response to the request of that id."""
    body = {"code": refusal.code, "message": str(refusal)} | ({"data": refusal.data} if refusal.data else {})
    return {"jsonrpc": "2.0", "id": request, "error": body}


class Echo:
    """The state of one server: its counter, the calls that can be cancelled, and the answers it waits for."""

    def __init__(self, era: str = "both") -> None:
        self._legacy, self._modern = ERAS[era]
        self._lock = threading.Lock()
        self._cancels: dict[str, threading.Event] = {}
        self._answers: dict[str, tuple[threading.Event, Json]] = {}
        self._asked = 0
        self.count = 0

    def handle(self, message: Json, send: Send) -> None:
        """Take one message and send whatever it calls for; a slow tool returns only when it is done."""
        if "method" not in message:
            self._take_answer(message)
        elif "id" not in message:
            self._take_note(message)
        else:
            try:
                result = self._result(message, send)
            except Refusal as refusal:
                send(error(message["id"], refusal))
            except Cancelled:
                return
            else:
                send({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def is_slow(self, message: Json) -> bool:
        """Tell whether handling this message may take long."""
        return message.get("method") == "tools/call" and part(message, "params").get("name") in SLOW

    def is_modern(self, message: Json) -> bool:
        """Tell whether a request belongs to the stateless era."""
        meta = part(part(message, "params"), "_meta")
        is_discovery = message.get("method") == "server/discover"
        return self._modern and (is_discovery or f"{META}protocolVersion" in meta or not self._legacy)

    def ask(self, method: str, params: Json, send: Send) -> Json:
        """Send a request to the client and wait, bounded, for its result (legacy only)."""
        with self._lock:
            self._asked += 1
            request = f"echo-{self._asked}"
            arrived, answer = self._answers[request] = (threading.Event(), {})
        send({"jsonrpc": "2.0", "id": request, "method": method, "params": params})
        try:
            if not arrived.wait(_ANSWER_WITHIN):
                raise ToolFailed(f"no answer to {method} within {_ANSWER_WITHIN:g} seconds")
        finally:
            self._answers.pop(request, None)
        return answer

    def _take_answer(self, message: Json) -> None:
        arrived, answer = self._answers.get(str(message.get("id")), (threading.Event(), {}))
        answer.update(part(message, "result") or {"error": message.get("error")})
        arrived.set()

    def _take_note(self, message: Json) -> None:
        if message["method"] == "notifications/cancelled":
            cancel = self._cancels.get(repr(part(message, "params").get("requestId")))
            if cancel is not None:
                cancel.set()

    def _result(self, message: Json, send: Send) -> Json:
        params = part(message, "params")
        if not self.is_modern(message):
            return self._legacy_result(message, params, send)
        _check_envelope(params)
        if message["method"] == "server/discover":
            return _complete({"supportedVersions": [MODERN], "capabilities": _CAPABILITIES, **_CACHEABLE})
        if message["method"] == "tools/list":
            return _complete({"tools": _listing(), **_CACHEABLE})
        if message["method"] == "tools/call":
            return _complete(self._called(message, params, send))
        raise _unknown_method(message)

    def _legacy_result(self, message: Json, params: Json, send: Send) -> Json:
        method = message["method"]
        if method == "tools/call":
            return self._called(message, params, send)
        if method == "tools/list":
            return {"tools": _listing()}
        if method in ("ping", "logging/setLevel"):
            return {}
        if method != "initialize":
            raise _unknown_method(message)
        asked = params.get("protocolVersion")
        version = asked if asked in LEGACY else LEGACY[-1]
        return {"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _INFO}

    def _called(self, message: Json, params: Json, send: Send) -> Json:
        tool = TOOLS.get(str(params.get("name")))
        if tool is None:
            raise Refusal(-32602, f"there is no tool {params.get('name')}")
        cancel = self._cancels[repr(message["id"])] = threading.Event()
        call = Call(params, send, cancel, None if self.is_modern(message) else self.ask)
        try:
            if tool is TOOLS["count"]:
                with self._lock:
                    self.count += 1
                    call.count = self.count
            return tool.run(call)
        except ToolFailed as failure:
            return {"content": [{"type": "text", "text": str(failure)}], "isError": True}
        finally:
            self._cancels.pop(repr(message["id"]), None)


def _listing() -> list[Json]:
    return [tool.document for tool in TOOLS.values()]


def _complete(result: Json) -> Json:
    return {"resultType": "complete", "_meta": {f"{META}serverInfo": _INFO}} | result


def _unknown_method(message: Json) -> Refusal:
    return Refusal(-32601, f"there is no method {message['method']}", status=404)


def _check_envelope(params: Json) -> None:
    meta = part(params, "_meta")
    for key in ("protocolVersion", "clientCapabilities"):
        if META + key not in meta:
            raise Refusal(-32602, f"_meta lacks {META}{key}", status=400)
    version = meta[f"{META}protocolVersion"]
    if version != MODERN:
        data = {"supported": [MODERN], "requested": version}
        raise Refusal(-32022, f"protocol version {version} is not supported", data, status=400)
