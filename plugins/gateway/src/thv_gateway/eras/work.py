"""One call of a client of the modern era at a server of the era of handshakes, over all rounds that it takes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Mapping

import msgspec

from thv_core.model.message import Kind, Message
from thv_gateway.eras.ladder import VERBOSITY
from thv_gateway.eras.needs import missing
from thv_gateway.eras.parking import Binding, Parking
from thv_gateway.eras.results import completed, marked
from thv_gateway.messages.answers import INTERNAL_ERROR, METHOD_NOT_FOUND, MISSING_CAPABILITY, failure
from thv_gateway.messages.assembly import quoted, with_members
from thv_gateway.messages.envelope import Envelope, unreserved
from thv_gateway.messages.parsing import members, text_of
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.conversation import Conversation

__all__ = ["ROUNDS", "Work"]

ROUNDS = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The methods that may be answered with ``input_required``."""

_GATHER_SECONDS = 0.02
"""What a server asks within so short a time is asked of the client at once."""

_MOST_QUESTIONS = 64
_UNASKED = frozenset({"elicitationId", "task", "_meta"})
"""What the modern era no longer has, or makes anew, in the parameters of a question."""


class Work:
    """A call in flight; ``envelope`` is that of the client's latest request for it.

    ``is_given_up`` tells that nothing more will be heard of it, ``is_parked`` that it waits for its client.

    :param talk: where it is in flight.
    """

    def __init__(self, talk: Conversation, call: Call, envelope: Envelope, parking: Parking, binding: Binding) -> None:
        self.call = call
        self.envelope = envelope
        self.talk = talk
        self._parking = parking
        self._binding = binding
        self._numbers = itertools.count(1)
        self._questions: dict[str, Message] = {}
        self._untold: deque[Message] = deque()
        self._token = call.token
        self.is_given_up = self.is_parked = False

    def resume(self, request: Message, answers: Mapping[str, bytes]) -> None:
        """Go on with a later request of the client, and tell the server what that answers."""
        self.is_parked = self.call.parked = False
        self.call.identifier = request.id
        self.envelope = Envelope.of(request.params)
        self._token = members(request.params.get("_meta", b"")).get("progressToken", b"")
        for key in self._questions.keys() & answers.keys():
            self._tell(self._questions.pop(key), Message(kind=Kind.RESPONSE, result=answers[key]))

    def abandon(self) -> None:
        """Give the call up, because its client went away or did not come back."""
        self.is_given_up = self._is_open
        self._drop()

    async def next(self, patience: float) -> Message | None:
        """Return what the client is to be told next: a notification, or the response of this round.

        :param patience: seconds after which it is ``None``, as it is at once when the call was given up.
        """
        # Nothing is lost when this is cut short: what was taken is kept here.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                return await self._following()
        return None

    async def _following(self) -> Message | None:
        if self._untold:
            return self._untold.popleft()
        if self._questions:
            # The client left some of them unanswered.
            return await self._asked()
        while (message := await self.call.mailbox.take()) is not None:
            if message.kind is Kind.RESPONSE:
                return self._completed(message)
            if message.kind is Kind.REQUEST:
                self._ask(message)
                if self._questions:
                    return await self._asked()
            elif (told := self._told(message)) is not None:
                return told
        if self.is_given_up or not self.call.mailbox.closed:
            return None
        return self._ended(failure(self.call.identifier, INTERNAL_ERROR, "The client reads too slowly"))

    @property
    def _is_open(self) -> bool:
        return self.talk.calls.find(self.call.key) is self.call

    def _drop(self) -> None:
        """Refuse whatever the server asks, and tell it that nobody waits any more."""
        self._forget_questions()
        if self._is_open:
            self.talk.calls.end(self.call)
            self.talk.tell_cancelled(self.call)
        self.call.mailbox.close()

    def _forget_questions(self) -> None:
        self._questions.clear()
        self.talk.delivery.abandon(self.call.mailbox)

    def _completed(self, message: Message) -> Message:
        self._forget_questions()
        response = msgspec.structs.replace(message, id=self.call.identifier)
        return completed(self.call.method, response, self.talk.handshake)

    def _told(self, message: Message) -> Message | None:
        """Return a notification as the client may hear it."""
        if message.method == "notifications/progress":
            params = {**message.params, "progressToken": self._token}
            return msgspec.structs.replace(message, params=params) if self._token else None
        if message.method == "notifications/message":
            return message if self._wants(text_of(message.params.get("level", b""))) else None
        if message.method == "notifications/cancelled":
            self._withdrawn(message.params.get("requestId", b""))
            return None
        return message

    def _wants(self, level: str) -> bool:
        wanted = text_of(self.envelope.level)
        if wanted not in VERBOSITY:
            return False
        return level in VERBOSITY[VERBOSITY.index(wanted) :]

    def _withdrawn(self, identifier: bytes) -> None:
        self._questions = {key: each for key, each in self._questions.items() if each.id != identifier}

    def _ask(self, question: Message) -> None:
        if self.call.method not in ROUNDS:
            self._tell(question, failure(b"", METHOD_NOT_FOUND, f"A client cannot be asked during {self.call.method}"))
        elif len(self._questions) >= _MOST_QUESTIONS:
            self._tell(question, failure(b"", INTERNAL_ERROR, "Too many requests wait for the client"))
        else:
            self._questions[str(next(self._numbers))] = question

    async def _asked(self) -> Message | None:
        """Return the response that asks the client for everything that the server waits for."""
        answer = await self._gathered()
        if answer is not None:
            self._untold.append(answer)
        if self._untold or not self._questions:
            return await self._following()
        declared = members(self.envelope.capabilities)
        lacks = [need for each in self._questions.values() if (need := missing(each, declared)) is not None]
        if lacks:
            data = {"requiredCapabilities": {kind: parts for need in lacks for kind, parts in need.items()}}
            text = "The server asks for what the client did not declare"
            return self._ended(failure(self.call.identifier, MISSING_CAPABILITY, text, data))
        if self._parking.full:
            return self._ended(failure(self.call.identifier, INTERNAL_ERROR, "Too many calls wait for their clients"))
        return self._parked()

    async def _gathered(self) -> Message | None:
        """Take what else the server asks at once; return a response that came instead."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_SECONDS):
                return await self._further()
        return None

    async def _further(self) -> Message | None:
        while (message := await self.call.mailbox.take()) is not None:
            if message.kind is Kind.RESPONSE:
                return self._completed(message)
            if message.kind is Kind.REQUEST:
                self._ask(message)
            elif (told := self._told(message)) is not None:
                self._untold.append(told)
        return None

    def _parked(self) -> Message:
        requests = {key: _embedded(question) for key, question in self._questions.items()}
        state = self._parking.park(self, self._binding, self.abandon)
        self.is_parked = self.call.parked = True
        result = {
            "resultType": b'"input_required"',
            "inputRequests": with_members(requests),
            "requestState": quoted(state),
        }
        raw = with_members(marked(result, self.talk.handshake))
        return Message(kind=Kind.RESPONSE, id=self.call.identifier, result=raw)

    def _ended(self, response: Message) -> Message:
        self._drop()
        return response

    def _tell(self, question: Message, answer: Message) -> None:
        if self.call.session is not None:
            self.talk.delivery.client_answered(self.call.session, msgspec.structs.replace(answer, id=question.id))


def _embedded(question: Message) -> bytes:
    params = {name: raw for name, raw in question.params.items() if name not in _UNASKED}
    meta = unreserved(members(question.params.get("_meta", b"")))
    meta.pop("progressToken", None)
    if meta:
        params["_meta"] = with_members(meta)
    return with_members({"method": quoted(question.method), **({"params": with_members(params)} if params else {})})
