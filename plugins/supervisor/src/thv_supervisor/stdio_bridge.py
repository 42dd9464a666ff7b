"""Carry MCP between a pair of pipes and a workload: each line is one message, in both directions and in both eras.

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
from thv_supervisor.bridge_calls import LISTEN, REPEATABLE, Call
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
    result_of,
)
from thv_supervisor.bridge_session import BridgeSession, Forgotten, Lost
from thv_supervisor.bridge_streams import listened, resumed
from thv_supervisor.modern_heads import Mirrors, modern_head, modern_version

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
_PAUSE = 0.5


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
        self._calls: dict[str, Call] = {}
        self._mirrors = Mirrors()
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
        self._end_listening()
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
            self._begin(Call(line, message, self._mirrors))
        else:
            self._tell(line, message)

    def _begin(self, call: Call) -> None:
        key = call.key
        with self._changed:
            reason = "Too many calls in flight" if len(self._calls) >= MOST_CALLS else ""
            reason = "A call in flight has the same id" if key in self._calls else reason
            if not reason:
                self._calls[key] = call
        if reason:
            self._refuse(call.identifier, INVALID_REQUEST, reason)
        else:
            threading.Thread(target=self._carry, args=(key, call), daemon=True).start()

    def _carry(self, key: str, call: Call) -> None:
        try:
            self._ask(call)
        except Lost as lost:
            if not call.is_over:
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

    def _ask(self, call: Call) -> None:
        left = _TRIES
        while True:
            left -= 1
            try:
                self._send(call)
                return
            except Forgotten as forgotten:
                if not left:
                    raise
                self._session.renew(str(forgotten))
            except Lost:
                if call.is_over or call.method not in REPEATABLE or not (left or call.method == LISTEN):
                    raise
                self._ended.wait(_PAUSE if call.method == LISTEN else 0)

    def _send(self, call: Call) -> None:
        """Send a call and write what comes back, once more when its head lacked what the schema of its tool says."""
        with self._session.exchange("POST", call.line, sent=call.is_sent, head=call.head) as response:
            if not self._is_to_be_learnt(call, response):
                self._relay(call, response)
                return
        self._learn(call)
        with self._session.exchange("POST", call.line, sent=call.is_sent, head=call.head) as response:
            self._relay(call, response)

    def _is_to_be_learnt(self, call: Call, response: http.client.HTTPResponse) -> bool:
        """Tell whether a call was refused because its head may lack what only the schema of its tool says."""
        tool = call.names_tool
        return response.status == 400 and tool is not None and not self._mirrors.knows(tool)

    def _learn(self, call: Call) -> None:
        """Ask for the tools, as the client itself did not; the call is then sent as it has to be."""
        line = call.listing()
        head = {**call.head, "mcp-method": "tools/list"}
        head.pop("mcp-name", None)
        with self._session.exchange("POST", line, head=head) as response:
            for data in resumed(self._session, response):
                self._mirrors.learn(result_of(message_of(data)))
        # Also one that is not in the list is known now, so that it is asked for once.
        self._mirrors.learn({"tools": [] if self._mirrors.knows(call.names_tool) else [{"name": call.names_tool}]})

    def _relay(self, call: Call, response: http.client.HTTPResponse) -> None:
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
            if mine:
                self._note(call, message)
            self._write(as_line(data))
            if mine:
                return
        raise Lost("the gateway ended it before it was complete")

    def _note(self, call: Call, message: dict[str, Any]) -> None:
        """Remember of an answer what a later session, or the head of a later request, needs."""
        if "result" not in message:
            return
        if call.method == "tools/list":
            self._mirrors.learn(result_of(message))
        if not call.is_modern:
            self._session.memory.note(call.method, call.message)

    def _tell(self, line: bytes, message: dict[str, Any]) -> None:
        """Deliver what has no answer: a notification, or the answer to a question of the server.

        What comes next follows it, unless the server takes its time: it may wait for just that.
        """
        method = str(message.get("method") or "an answer")
        if method == "notifications/cancelled" and self._is_ended(message):
            return
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
                with self._session.exchange("POST", line, head=self._head(line)) as response:
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

    def _head(self, line: bytes) -> dict[str, str]:
        message = message_of(line) or {}
        return modern_head(message, self._mirrors) if modern_version(message) else {}

    def _renewed(self, forgotten: str) -> bool:
        try:
            self._session.renew(forgotten)
        except ThvError as error:
            self._complain(error.message)
            return False
        return True

    def _is_ended(self, message: dict[str, Any]) -> bool:
        """End the call that a cancellation means, if it is of the modern era; else wait until it is on its way."""
        params = message.get("params")
        known = cast("dict[str, Any]", params) if isinstance(params, dict) else {}
        key = json.dumps(known.get("requestId"))
        with self._changed:
            call = self._calls.get(key)
        if call is None:
            return bool(modern_version(message))
        if call.is_modern:
            call.end()
            return True
        call.sent.wait(ORDER_SECONDS)
        return False

    def _end_listening(self) -> None:
        with self._changed:
            endless = [call for call in self._calls.values() if call.method == LISTEN]
        for call in endless:
            call.end()

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
