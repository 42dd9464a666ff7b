"""A conversation of the stateless era and its guise, message by message, without a process: what is left is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from thv_core.spi import Kind, Message
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.envelope import Envelope
from thv_gateway.messages.parsing import parse_line
from thv_gateway.pipes import modern_listening
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.modern_conversation import ModernConversation
from thv_gateway.pipes.modern_for_legacy import Guise
from thv_gateway.pipes.modern_rounds import MAX_INPUTS, MAX_ROUNDS
from thv_gateway.process.outlets import Outlets
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.servers.handshake import Handshake, Handshakes
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.asked import Asked
from thv_gateway.sessions.memory import Recollection
from thv_gateway.sessions.sessions import Abilities, Session, Sessions, abilities

META = "io.modelcontextprotocol/"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
DISCOVERED = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"resources": {"subscribe": True}, "tools": {"listChanged": True}, "logging": {}},
}
QUESTION = {"method": "elicitation/create", "params": {"message": "Who?"}}


class FakeServer:
    """The wire to a server of the stateless era that does what a test says."""

    congested = False

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.news = asyncio.Event()
        self.conversation: ModernConversation | None = None

    def send(self, message: Message) -> None:
        """Take what the gateway sends."""
        self.sent.append(json.loads(assemble(message)))
        self.news.set()

    def says(self, about: bytes = b"", **message: Any) -> bool:
        """Say something to the gateway."""
        parsed = parse_line(json.dumps({"jsonrpc": "2.0"} | message).encode())
        assert parsed is not None
        assert self.conversation is not None
        return self.conversation.take(parsed, about)

    def answers(self, request: dict[str, Any], **result: Any) -> bool:
        """Answer a request."""
        return self.says(id=request["id"], result=result)

    def acknowledges(self, request: dict[str, Any], **granted: Any) -> None:
        """Acknowledge a subscription."""
        notifications = granted or request["params"]["notifications"]
        self.tells(request, ACKNOWLEDGED, notifications=notifications)

    def tells(self, request: dict[str, Any], method: str, **params: Any) -> bool:
        """Say something in the name of a subscription."""
        return self.says(method=method, params=params | {"_meta": {META + "subscriptionId": request["id"]}})

    def asked(self, method: str) -> list[dict[str, Any]]:
        """Return what it was sent with a method."""
        return [message for message in self.sent if message.get("method") == method]


class Talk:
    """A server in its guise with one client of the era of handshakes."""

    def __init__(self, folder: Path, able: Abilities = Abilities.ELICITATION) -> None:
        recollection = Recollection()
        sessions = Sessions("modern", b"k" * 32, lambda count: b"r" * count, lambda: 1.0, recollection)
        self.estate = Estate(
            sessions=sessions,
            handshakes=Handshakes(folder / "handshakes.json"),
            outlets=cast("Outlets", None),
            log=ProxyLog(str(folder / "proxy.log")),
            prefix="g",
            recollection=recollection,
            remember=lambda: None,
            asked=Asked(),
        )
        self.server = FakeServer()
        self.modern = self.server.conversation = ModernConversation(self.server, self.estate, "m", 60.0)
        self.guise = Guise.put_on(self.modern, self.estate, "k", 60.0)
        self.legacy = self.guise.conversation
        self.legacy.delivery.is_heard = True
        session = sessions.open("2025-11-25", able)
        assert session is not None
        self.session: Session = session

    def call(self, method: str = "tools/call", **params: Any) -> Call:
        """Make a request as the client does."""
        raw = {name: msgspec.json.encode(value) for name, value in params.items()}
        request = Message(kind=Kind.REQUEST, id=b'"mine"', method=method, params=raw, has_params=True)
        call, outgoing = self.legacy.calls.begin(request, self.session)
        self.legacy.send(outgoing)
        return call

    async def heard(self, call: Call) -> dict[str, Any]:
        """Return the next message that the client gets about a call."""
        async with asyncio.timeout(5):
            message = await call.mailbox.take()
        assert message is not None
        said: dict[str, Any] = json.loads(assemble(message))
        return said

    def client_answers(self, question: dict[str, Any], **answer: Any) -> bool:
        """Answer what the client was asked."""
        parsed = parse_line(json.dumps({"jsonrpc": "2.0", "id": question["id"]} | answer).encode())
        assert parsed is not None
        return self.legacy.delivery.client_answered(self.session, parsed)

    def left(self) -> int:
        """Count everything that waits for something."""
        guise, listening = cast("Any", self.guise), cast("Any", self.guise)._listening
        waiting = [self.modern.calls, self.legacy.calls, guise._rounds, guise._asked, listening._waiting]
        return sum(map(len, waiting)) + len(cast("Any", self.legacy.delivery)._asked) + self.session.calls


Work = Callable[[Talk], Awaitable[None]]


@pytest.fixture
def talk(tmp_path: Path) -> Callable[..., None]:
    """Run a test with a guise, within bounds, and leave no task behind."""

    def run(work: Work, able: Abilities = Abilities.ELICITATION) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await work(Talk(tmp_path, able))
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(bounded())

    return run


def learnt(talk: Talk) -> None:
    talk.guise.learn(Handshake(discovered=msgspec.Raw(msgspec.json.encode(DISCOVERED))))


# Rounds


def test_the_state_and_the_answers_go_with_the_original_request_under_a_new_id(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x", arguments={"a": 1})
        first = talk.server.sent[-1]
        talk.server.answers(first, resultType="input_required", inputRequests={"who": QUESTION}, requestState="s/=")
        question = await talk.heard(call)
        assert question["params"] == QUESTION["params"]
        assert talk.client_answers(question, result={"action": "decline"})
        second = talk.server.sent[-1]
        assert second["id"] != first["id"]
        assert second["params"].pop("inputResponses") == {"who": {"action": "decline"}}
        assert second["params"].pop("requestState") == "s/="
        assert second["params"] == first["params"]
        talk.server.answers(second, resultType="complete", content=[])
        assert await talk.heard(call) == {"jsonrpc": "2.0", "id": "mine", "result": {"content": []}}
        assert talk.left() == 0

    talk(work)


def test_a_later_round_carries_nothing_of_an_earlier_one(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        talk.server.answers(
            talk.server.sent[-1], resultType="input_required", inputRequests={"a": QUESTION}, requestState="one"
        )
        talk.client_answers(await talk.heard(call), result={"action": "cancel"})
        talk.server.answers(talk.server.sent[-1], resultType="input_required", inputRequests={"b": QUESTION})
        talk.client_answers(await talk.heard(call), result={"action": "decline"})
        params = talk.server.sent[-1]["params"]
        assert params["inputResponses"] == {"b": {"action": "decline"}}
        assert "requestState" not in params

    talk(work)


def test_every_question_is_answered_before_the_next_round(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        talk.server.answers(
            talk.server.sent[-1], resultType="input_required", inputRequests={"a": QUESTION, "b": QUESTION}
        )
        questions = [await talk.heard(call), await talk.heard(call)]
        sent = len(talk.server.sent)
        talk.client_answers(questions[1], result={"n": 2})
        assert len(talk.server.sent) == sent
        talk.client_answers(questions[0], result={"n": 1})
        assert talk.server.sent[-1]["params"]["inputResponses"] == {"b": {"n": 2}, "a": {"n": 1}}

    talk(work)


def test_a_question_by_url_gets_the_id_that_the_era_of_handshakes_wants(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        params = {"mode": "url", "url": "https://example.com", "message": "Go"}
        question = {"method": "elicitation/create", "params": params}
        talk.server.answers(talk.server.sent[-1], resultType="input_required", inputRequests={"a": question})
        asked = (await talk.heard(call))["params"]
        assert asked.pop("elicitationId")
        assert asked == params

    talk(work, Abilities.ELICITATION | Abilities.ELICITATION_URL)


TOLD = {
    "elicitation": {"form": {}, "url": {}},
    "sampling": {"tools": {}},
    "roots": {"listChanged": True},
    "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html"]}, "io.modelcontextprotocol/tasks": {}},
    "tasks": {"list": {}},
}


@pytest.mark.parametrize("is_remembered", [True, False])
def test_the_server_is_told_what_the_client_declared(talk: Callable[..., None], *, is_remembered: bool) -> None:
    async def work(talk: Talk) -> None:
        talk.session.declared = json.dumps(TOLD).encode() if is_remembered else b""
        talk.call(name="x")
        declared = talk.server.sent[-1]["params"]["_meta"][META + "clientCapabilities"]
        if is_remembered:
            assert declared.pop("extensions") == {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html"]}}
            assert declared.pop("roots") == {"listChanged": True}
        else:
            assert declared.pop("roots") == {}
        assert declared == {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}}
        talk.guise.close()

    raw = {name: json.dumps(value).encode() for name, value in TOLD.items()}
    talk(work, abilities(raw))


@pytest.mark.parametrize(
    "result",
    [
        {"inputRequests": {}},
        {"inputRequests": {"a": {"method": "tools/list"}}},
        {"inputRequests": {str(number): QUESTION for number in range(MAX_INPUTS + 1)}},
    ],
)
def test_what_cannot_be_asked_ends_the_call(talk: Callable[..., None], result: dict[str, Any]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        talk.server.answers(talk.server.sent[-1], resultType="input_required", **result)
        assert (await talk.heard(call))["error"]["code"] == -32603
        assert talk.left() == 0

    talk(work)


def test_a_method_that_may_not_ask_for_input_ends_with_an_error(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call("tools/list")
        talk.server.answers(talk.server.sent[-1], resultType="input_required", requestState="x")
        assert (await talk.heard(call))["error"]["code"] == -32603
        assert talk.left() == 0

    talk(work)


def test_rounds_without_end_end_after_so_many(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        for _ in range(MAX_ROUNDS + 1):
            talk.server.answers(talk.server.sent[-1], resultType="input_required", requestState="again")
        assert (await talk.heard(call))["error"]["code"] == -32603
        assert len(talk.server.asked("tools/call")) == MAX_ROUNDS + 1
        assert talk.left() == 0

    talk(work)


def test_a_client_that_cannot_be_asked_is_not_asked_the_rest(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        requests = {"a": {"method": "sampling/createMessage", "params": {}}, "b": QUESTION}
        talk.server.answers(talk.server.sent[-1], resultType="input_required", inputRequests=requests)
        assert (await talk.heard(call))["error"]["code"] == -32601
        assert talk.left() == 0

    talk(work)


def test_a_cancelled_call_takes_its_question_back_and_leaves_nothing(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        talk.server.answers(talk.server.sent[-1], resultType="input_required", inputRequests={"a": QUESTION})
        question = await talk.heard(call)
        talk.legacy.tell_cancelled(call)
        assert (await talk.heard(call))["params"] == {"requestId": question["id"]}
        assert (await talk.heard(call))["error"]["code"] == -32800
        assert talk.left() == 0
        assert not talk.client_answers(question, result={})
        assert not talk.server.asked("notifications/cancelled")

    talk(work)


def test_a_call_that_is_cancelled_at_work_is_cancelled_at_the_server(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        key = talk.server.sent[-1]["id"]
        talk.legacy.tell_cancelled(call)
        assert talk.server.asked("notifications/cancelled")[0]["params"] == {"requestId": key}
        assert (await talk.heard(call))["error"]["code"] == -32800
        assert talk.server.says(id=key, result={})
        assert talk.left() == 0

    talk(work)


def test_a_question_that_nobody_answers_ends_with_its_call(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        talk.server.answers(talk.server.sent[-1], resultType="input_required", inputRequests={"a": QUESTION})
        await talk.heard(call)
        call.deadline = 0.0
        talk.legacy.cancel_overdue()
        assert call.status == 504
        assert talk.left() == 0

    talk(work)


def test_the_end_of_the_server_ends_calls_and_questions(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        learnt(talk)
        asked, waiting = talk.call(name="x"), talk.call(name="y")
        talk.server.answers(talk.server.sent[-2], resultType="input_required", inputRequests={"a": QUESTION})
        talk.call("resources/subscribe", uri="file:///a")
        await talk.heard(asked)
        talk.guise.close()
        talk.legacy.fail("gone")
        talk.modern.fail("gone")
        for call in (asked, waiting):
            assert (await talk.heard(call))["error"]["message"] == "gone"
            assert call.status == 502
        assert talk.left() == 0

    talk(work)


# Listening


async def sent(talk: Talk, method: str, count: int = 1) -> dict[str, Any]:
    while len(talk.server.asked(method)) < count:
        talk.server.news.clear()
        await talk.server.news.wait()
    return talk.server.asked(method)[count - 1]


def test_the_former_subscription_is_heard_until_the_next_is_acknowledged_and_then_no_more(
    talk: Callable[..., None],
) -> None:
    async def work(talk: Talk) -> None:
        told: list[str] = []
        talk.legacy.on_tools_changed = lambda: told.append("changed")
        learnt(talk)
        first = await sent(talk, "subscriptions/listen")
        assert first["params"]["notifications"] == {"toolsListChanged": True}
        talk.server.acknowledges(first)
        call = talk.call("resources/subscribe", uri="file:///a")
        second = await sent(talk, "subscriptions/listen", 2)
        talk.server.tells(first, "notifications/tools/list_changed")
        assert told == ["changed"]
        assert not talk.server.asked("notifications/cancelled")
        talk.server.acknowledges(second)
        assert (await talk.heard(call))["result"] == {}
        assert talk.server.asked("notifications/cancelled")[0]["params"] == {"requestId": first["id"]}
        talk.server.tells(first, "notifications/tools/list_changed")
        talk.server.tells(second, "notifications/tools/list_changed")
        assert told == ["changed", "changed"]
        talk.guise.close()
        assert talk.left() == 0

    talk(work)


def test_a_resource_that_is_not_granted_is_refused(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        learnt(talk)
        call = talk.call("resources/subscribe", uri="file:///a")
        talk.server.acknowledges(await sent(talk, "subscriptions/listen"), toolsListChanged=True)
        assert (await talk.heard(call))["error"]["code"] == -32602
        await asyncio.sleep(0)
        assert len(talk.server.asked("subscriptions/listen")) == 1
        talk.guise.close()
        assert talk.left() == 0

    talk(work)


def test_many_subscriptions_at_once_are_one_upstream(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        learnt(talk)
        calls = [talk.call("resources/subscribe", uri=f"file:///{number}") for number in range(50)]
        request = await sent(talk, "subscriptions/listen")
        assert len(request["params"]["notifications"]["resourceSubscriptions"]) == 50
        talk.server.acknowledges(request)
        assert [(await talk.heard(call))["result"] for call in calls] == [{}] * 50
        assert len(talk.server.asked("subscriptions/listen")) == 1
        talk.guise.close()

    talk(work)


def test_a_subscription_that_is_never_acknowledged_is_given_up(
    talk: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modern_listening, "ACKNOWLEDGE_SECONDS", 0.01)

    async def work(talk: Talk) -> None:
        learnt(talk)
        call = talk.call("resources/subscribe", uri="file:///a")
        request = await sent(talk, "subscriptions/listen")
        assert (await talk.heard(call))["error"]["code"] == -32602
        assert talk.server.asked("notifications/cancelled")[0]["params"] == {"requestId": request["id"]}
        talk.guise.close()
        assert talk.left() == 0

    talk(work)


def test_a_subscription_that_ends_again_and_again_is_begun_ever_more_rarely(
    talk: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modern_listening, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(modern_listening, "LONGEST_PAUSE", 0.04)

    async def work(talk: Talk) -> None:
        learnt(talk)
        clock = asyncio.get_running_loop().time
        times = []
        for count in range(1, 4):
            request = await sent(talk, "subscriptions/listen", count)
            times.append(clock())
            talk.server.acknowledges(request)
            talk.server.answers(request, resultType="complete")
        assert times[1] - times[0] >= 0.009
        assert times[2] - times[1] >= 0.019
        talk.guise.close()
        assert talk.left() == 0

    talk(work)


# Whose a message is


def test_a_log_on_a_shared_pipe_goes_to_the_only_client_that_asked_for_logs(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        learnt(talk)
        log = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
        call = talk.call(name="x")
        assert talk.server.says(**log)
        assert (await talk.heard(call))["params"] == {"level": "info", "data": "x"}
        client = Session("", "2026-07-28", Abilities.NONE)
        request = Message(kind=Kind.REQUEST, id=b"1", method="tools/call", has_params=True)
        other, _ = talk.modern.open(request, client, Envelope(level=b'"info"'), client)
        assert not talk.server.says(**log)
        assert talk.server.says(about=other.key, **log)
        assert (await talk.heard(other))["params"]["data"] == "x"
        talk.guise.close()

    talk(work)


def test_a_level_that_is_null_asks_for_no_logs(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        client = Session("", "2026-07-28", Abilities.NONE)
        request = Message(kind=Kind.REQUEST, id=b"1", method="tools/call", has_params=True)
        talk.modern.open(request, client, Envelope(level=b"null"), client)
        assert not talk.server.says(method="notifications/message", params={"level": "info", "data": "x"})

    talk(work)


def test_a_server_of_this_era_may_ask_nothing(talk: Callable[..., None]) -> None:
    async def work(talk: Talk) -> None:
        call = talk.call(name="x")
        assert not talk.server.says(id=1, method="elicitation/create", params={})
        assert len(talk.server.sent) == 1
        assert not talk.server.says(
            method="notifications/cancelled", params={"requestId": json.loads(talk.server.sent[0]["id"].join('""'))}
        )
        talk.server.answers(talk.server.sent[-1])
        assert (await talk.heard(call))["result"] == {}

    talk(work)
