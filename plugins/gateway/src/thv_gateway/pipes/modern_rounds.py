"""One call of a client of the era of handshakes at a server of the stateless one, in as many rounds as it takes.

A result of the type ``input_required`` asks the client: each of its input requests becomes a request of the server on
the call's own stream, and with all answers the call is made again (MCP 2026-07-28, multi round-trip requests).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.messages.answers import INTERNAL_ERROR, failure
from thv_gateway.messages.assembly import with_members
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.pipes.call import Call

__all__ = ["MAX_INPUTS", "MAX_ROUNDS", "Impossible", "Question", "Rounds"]

MAX_ROUNDS = 16
MAX_INPUTS = 16
"""So many things a server may ask in one round."""

_METHODS = frozenset({"tools/call", "prompts/get", "resources/read"})
_INPUTS = frozenset({"elicitation/create", "sampling/createMessage", "roots/list"})
_STATE = "requestState"


class Impossible(Exception):
    """What a server asks cannot be asked; the text says why."""


class Question(msgspec.Struct, frozen=True):
    """One thing that a server wants to know: under which key it expects the answer, and the request for the client."""

    key: str
    method: str
    params: Mapping[str, bytes]


class Rounds:
    """The state of one call: ``message`` is the client's, ``call`` the current one to the server.

    ``open`` maps the ids of requests that the client has not answered to the keys of their answers.
    """

    __slots__ = ("_answers", "_count", "_state", "call", "message", "open")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.call: Call | None = None
        self.open: dict[bytes, str] = {}
        self._answers: dict[str, bytes] = {}
        self._count = 0
        self._state = b""

    def asked(self, result: Mapping[str, bytes]) -> list[Question]:
        """Take note of what the server wants to know, and return it; nothing when it only wants to be asked again.

        :raises Impossible: when it may not ask that, or asks too much.
        """
        self._count += 1
        self._answers = {}
        self._state = result.get(_STATE, b"")
        wanted = members(result.get("inputRequests", b""))
        if self.message.method not in _METHODS:
            raise Impossible(f"The server asked for input to {self.message.method}, which cannot be given")
        if not (wanted or self._state):
            raise Impossible("The server asked for input, but not for which")
        if self._count > MAX_ROUNDS or len(wanted) > MAX_INPUTS:
            raise Impossible("The server asked for input too often")
        return [_question(key, raw) for key, raw in wanted.items()]

    def answered(self, identifier: bytes, result: bytes) -> bool:
        """Take an answer of the client; tell whether it was the last one."""
        self._answers[self.open.pop(identifier)] = result
        return not self.open

    def params(self) -> dict[str, bytes]:
        """Return the parameters of the next round: the client's, its answers, and the state exactly as it came."""
        answers = {"inputResponses": with_members(self._answers)} if self._answers else {}
        state = {_STATE: self._state} if self._state else {}
        return {**self.message.params, **answers, **state}

    def failed(self, error: bytes) -> Message:
        """Return the response for the client that carries a raw error."""
        return Message(kind=Kind.RESPONSE, id=self.message.id, error=error)

    def broken(self, text: str) -> Message:
        """Return the response for the client that says what the server did wrong."""
        return failure(self.message.id, INTERNAL_ERROR, text)


def _question(key: str, raw: bytes) -> Question:
    request = members(raw)
    method = text_of(request.get("method", b""))
    if method not in _INPUTS:
        raise Impossible("The server asked for input of a kind that is not known here")
    return Question(key, method, members(request.get("params", b"")))
