"""Carry MCP between a pair of pipes and a workload: each line is one message, in both directions.

A request waits for its answer in a thread of its own, so that a slow call holds nothing up. Whatever cannot be carried
is answered with an error under the id of its request: no request is dropped silently.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from thv_core.errors import ThvError
from thv_supervisor.bridge_lines import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MAX_LINE,
    PARSE_ERROR,
    answers,
    as_line,
    failure,
    lines,
    message_of,
    refusal,
)
from thv_supervisor.bridge_session import BridgeSession, Forgotten, Lost
from thv_supervisor.bridge_streams import listened, resumed

__all__ = ["Bridge"]

MOST_CALLS = 256
MOST_TOLD = 64
"""So many notifications and answers are on their way at once; then nothing more is read."""

ENDING_SECONDS = 300.0
"""How long calls in flight may last once standard input has ended."""

LEAVING_SECONDS = 2.0
ORDER_SECONDS = 2.0
"""How long a cancellation waits for its request to be on its way, and what follows a notification for that."""

_TRIES = 3
_REPEATABLE = frozenset(
    {
        *("initialize", "ping", "completion/complete", "logging/setLevel", "prompts/get", "prompts/list"),
        *("resources/list", "resources/read", "resources/subscribe", "resources/templates/list"),
        *("resources/unsubscribe", "tools/list"),
    }
)
"""What may be asked again although the server may have heard it already; a tool is never called twice."""


class _Call:
    """One request in flight; ``sent`` is set as soon as its bytes are on their way, or never will be."""

    def __init__(self, line: bytes, message: dict[str, Any]) -> None:
        self.line = line
        self.identifier: object = message["id"]
        self.method = str(message["method"])
        self.sent = threading.Event()


class Bridge:
    """Speaks for one client.

    :param session: with the gateway.
    :param complain: called with a sentence for people about what no answer can tell.
    :param leave: ends the process at once, when nobody reads what is written.
    """

    def __init__(
        self,
        session: BridgeSession,
        complain: Callable[[str], None],
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._session = session
        self._complain = complain
        self._leave = leave
        self._calls: dict[str, _Call] = {}
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._listens = False
        self._told = 0

    def run(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Carry messages until ``source`` ends and what was asked is answered."""
        self._sink = sink
        for line in lines(source):
            self._take(line)
        with self._changed:
            self._changed.wait_for(lambda: not (self._calls or self._told), ENDING_SECONDS)
            unanswered = list(self._calls.values())
        self._ended.set()
        for call in unanswered:
            self._refuse(call.identifier, INTERNAL_ERROR, f"{call.method} was not answered in time")
        self._session.end(LEAVING_SECONDS)
        # Kept for ever: a thread that still reads must neither write nor hold the pipe while the process ends.
        self._writing.acquire()

    def _take(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            self._refuse(None, INVALID_REQUEST, f"A message is longer than {MAX_LINE} bytes")
            return
        message = message_of(line)
        if message is None:
            self._refuse(None, PARSE_ERROR, "A message is one JSON object on one line")
        elif "method" in message and "id" in message:
            self._begin(_Call(line, message))
        else:
            self._tell(line, message)

    def _begin(self, call: _Call) -> None:
        key = json.dumps(call.identifier)
        with self._changed:
            reason = "Too many calls in flight" if len(self._calls) >= MOST_CALLS else ""
            reason = "A call in flight has the same id" if key in self._calls else reason
            if not reason:
                self._calls[key] = call
        if reason:
            self._refuse(call.identifier, INVALID_REQUEST, reason)
        else:
            threading.Thread(target=self._carry, args=(key, call), daemon=True).start()

    def _carry(self, key: str, call: _Call) -> None:
        try:
            self._ask(call)
        except Lost as lost:
            self._refuse(call.identifier, INTERNAL_ERROR, f"The answer to {call.method} was lost: {lost}")
        except ThvError as error:
            self._refuse(call.identifier, INTERNAL_ERROR, error.message)
        except Exception as error:
            self._refuse(call.identifier, INTERNAL_ERROR, f"{call.method} could not be carried: {type(error).__name__}")
        finally:
            call.sent.set()
            with self._changed:
                self._calls.pop(key, None)
                self._changed.notify_all()

    def _ask(self, call: _Call) -> None:
        for left in reversed(range(_TRIES)):
            try:
                with self._session.exchange("POST", call.line, sent=call.sent.set) as response:
                    self._relay(call, response)
                    return
            except Forgotten as forgotten:
                if not left:
                    raise
                self._session.renew(str(forgotten))
            except Lost:
                if not left or call.method not in _REPEATABLE:
                    raise

    def _relay(self, call: _Call, response: http.client.HTTPResponse) -> None:
        """Write what comes back, up to the answer.

        :raises Lost: when that does not come.
        """
        if response.status != 200:
            self._write(failure(call.identifier, call.method, response.status, response.read()))
            return
        for data in resumed(self._session, response):
            message = message_of(data)
            if message is None:
                continue
            mine = answers(message, call.identifier)
            if mine and call.method == "initialize" and isinstance(message.get("result"), dict):
                # Before the client hears of it, and goes on in the session.
                self._session.open(call.line, response.headers.get("mcp-session-id", ""), message["result"])
            self._write(as_line(data))
            if mine:
                return
        raise Lost("the gateway ended it before it was complete")

    def _tell(self, line: bytes, message: dict[str, Any]) -> None:
        """Deliver what has no answer: a notification, or the answer to a question of the server.

        What comes next follows it, unless the server takes its time: it may wait for just that.
        """
        method = str(message.get("method") or "an answer")
        if method == "notifications/cancelled":
            self._await(message)
        with self._changed:
            if method == "notifications/initialized":
                # Some clients do not wait for the answer that names the session.
                self._changed.wait_for(lambda: not self._initializes(), ENDING_SECONDS)
            self._changed.wait_for(lambda: self._told < MOST_TOLD)
            self._told += 1
        teller = threading.Thread(target=self._deliver, args=(line, method), daemon=True)
        teller.start()
        teller.join(ORDER_SECONDS)

    def _initializes(self) -> bool:
        return any(call.method == "initialize" for call in self._calls.values())

    def _deliver(self, line: bytes, what: str) -> None:
        try:
            delivered = self._delivered(line, what)
        finally:
            with self._changed:
                self._told -= 1
                self._changed.notify_all()
        if delivered and what == "notifications/initialized" and not self._listens:
            self._listens = True
            threading.Thread(target=self._listen, daemon=True).start()

    def _delivered(self, line: bytes, what: str) -> bool:
        for left in (1, 0):
            try:
                with self._session.exchange("POST", line) as response:
                    response.read()
                if response.status >= 400:
                    self._complain(f"{what} was not taken: HTTP {response.status}")
                return response.status < 400
            except Forgotten as forgotten:
                if not (left and self._renewed(str(forgotten))):
                    break
            except (Lost, ThvError) as error:
                self._complain(f"{what} was not delivered: {error}")
                break
        return False

    def _renewed(self, forgotten: str) -> bool:
        try:
            self._session.renew(forgotten)
        except ThvError as error:
            self._complain(error.message)
            return False
        return True

    def _await(self, message: dict[str, Any]) -> None:
        params = message.get("params")
        known = cast("dict[str, Any]", params) if isinstance(params, dict) else {}
        key = json.dumps(known.get("requestId"))
        with self._changed:
            call = self._calls.get(key)
        if call is not None:
            call.sent.wait(ORDER_SECONDS)

    def _listen(self) -> None:
        for data in listened(self._session, self._ended):
            if message_of(data) is not None:
                self._write(as_line(data))

    def _refuse(self, identifier: object, code: int, text: str) -> None:
        self._write(refusal(identifier, code, text))

    def _write(self, line: bytes) -> None:
        with self._writing:
            try:
                self._sink.write(line)
                self._sink.flush()
            except (OSError, ValueError):
                self._leave(0)
