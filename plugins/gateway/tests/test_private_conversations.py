"""Conversations that are there for one client each: opened once, bounded, ended when idle, and nothing is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply
from thv_gateway.client.connection import Broken
from thv_gateway.client.pool import Busy
from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.pipes.private_talk import Party, PrivateTalk, introduction
from thv_gateway.pipes.private_talks import PrivateTalks, Sizes, addressed
from thv_gateway.process.outlets import Outlets
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.servers.handshake import Handshake, Handshakes, Refused
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.asked import Asked
from thv_gateway.sessions.memory import Recollection, Stay
from thv_gateway.sessions.sessions import Abilities, Sessions
from thv_gateway.wires.way import Take, nobody

INITIALIZED = {"protocolVersion": "2025-06-18", "capabilities": {"logging": {}}, "serverInfo": {}}


class FakeWire:
    """Answers ``initialize`` as told, and everything else with nothing; it keeps what was said."""

    def __init__(self, answer: dict[str, Any] | None, incarnation: str = "") -> None:
        self.incarnation = incarnation
        self.take: Take = nobody
        self.rest: Callable[[], float] = lambda: 0.0
        self.on_end: Callable[[str], None] = nobody
        self.congested = False
        self.said: list[Message] = []
        self.is_closed = False
        self.has_left = False
        self._answer = answer

    def send(self, message: Message) -> None:
        self.said.append(message)
        if message.method == "initialize" and self._answer is not None:
            result = msgspec.json.encode(self._answer)
            self.take(Message(kind=Kind.RESPONSE, id=message.id, result=result), b"")

    async def leave(self) -> None:
        self.has_left = True

    def close(self) -> None:
        self.is_closed = True

    @property
    def methods(self) -> list[str]:
        return [message.method for message in self.said]


class Server:
    """Opens wires, and counts them."""

    def __init__(self, folder: Path, **sizes: Any) -> None:
        recollection = Recollection()
        self.count = 0

        def random(count: int) -> bytes:
            self.count += 1
            return self.count.to_bytes(count, "big")

        sessions = Sessions("echo", b"k" * 32, random, lambda: 1.0, recollection)
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
        self.wires: list[FakeWire] = []
        self.parties: list[Party] = []
        self.trouble: Exception | None = None
        self.answer: dict[str, Any] | None = INITIALIZED
        self.incarnation = ""
        self.released: list[str] = []
        known = {"most": lambda: 3, "timeout": 60.0, "idle": 60.0} | sizes
        self.talks = PrivateTalks("echo", "g-1-p", self._opened, self.estate, Sizes(**known))
        self.is_released = asyncio.Event()
        self.talks.on_end = self._released

    def _released(self, name: str) -> None:
        self.released.append(name)
        self.is_released.set()

    async def _opened(self, party: Party) -> FakeWire:
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        self.wires.append(FakeWire(self.answer, self.incarnation))
        self.parties.append(party)
        return self.wires[-1]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


def opened(talk: PrivateTalk | Reply) -> PrivateTalk:
    assert isinstance(talk, PrivateTalk)
    return talk


def test_a_conversation_is_opened_once_however_many_ask_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Server(tmp_path)
        talks = await asyncio.gather(*(server.talks.of(Party("a", {})) for _ in range(5)))
        assert len(server.wires) == 1
        assert len(set(map(id, talks))) == 1
        assert server.wires[0].methods == ["initialize", "notifications/initialized"]
        server.talks.close("over")

    run(scenario())


def test_a_lost_conversation_is_opened_anew_with_what_its_session_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Server(tmp_path)
        session = server.estate.sessions.open("2025-06-18", Abilities.SAMPLING)
        assert session is not None
        raw = {"clientInfo": b'{"name":"me"}', "capabilities": b'{"sampling":{}}'}
        server.estate.recollection.admit(session.id, raw, "", Stay(""))
        server.estate.recollection.want_level(session.id, "error")
        server.estate.recollection.subscriptions[session.id] = ["a:b"]
        party = Party("a", introduction(server.estate, session), session)
        first = opened(await server.talks.of(party))
        server.wires[0].on_end("it ended")
        second = opened(await server.talks.of(party))
        assert first is not second
        assert server.wires[1].methods == [
            *("initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe")
        ]
        params = server.wires[1].said[0].params
        assert params["clientInfo"] == b'{"name":"me"}'
        assert params["protocolVersion"] == b'"2025-06-18"'
        assert len(server.talks) == 1
        server.talks.close("over")

    run(scenario())


def test_a_call_in_flight_ends_with_its_wire(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Server(tmp_path)
        talk = opened(await server.talks.of(Party("a", {})))
        asking = asyncio.create_task(talk.conversation.ask("tools/list", {}))
        await asyncio.sleep(0)
        server.wires[0].on_end("echo ended")
        assert json.loads((await asking).error)["message"] == "echo ended"
        server.talks.close("over")

    run(scenario())


def test_the_one_that_is_idle_longest_gives_its_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Server(tmp_path)
        for name in ("a", "b", "c", "a"):
            opened(await server.talks.of(Party(name, {})))
            await asyncio.sleep(0.002)
        opened(await server.talks.of(Party("d", {})))
        assert [name for name in "abcd" if server.talks.find(name) is not None] == ["a", "c", "d"]
        assert server.released == ["b"]
        await asyncio.sleep(0.01)
        assert (server.wires[1].has_left, server.wires[1].is_closed) == (True, True)
        server.talks.close("over")

    run(scenario())


def test_nobody_at_work_gives_its_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Server(tmp_path, most=lambda: 1)
        talk = opened(await server.talks.of(Party("a", {})))
        asking = asyncio.create_task(talk.conversation.ask("tools/list", {}))
        await asyncio.sleep(0)
        refused = await server.talks.of(Party("b", {}))
        assert isinstance(refused, Reply)
        assert (refused.status, (b"retry-after", b"1") in refused.headers) == (503, True)
        server.talks.close("over")
        assert (await asking).error

    run(scenario())


def test_what_nobody_uses_for_long_is_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Server(tmp_path, idle=0.05, timeout=0.1)
        opened(await server.talks.of(Party("a", {})))
        await asyncio.wait_for(server.is_released.wait(), 5)
        assert len(server.talks) == 0
        assert server.released == ["a"]
        server.talks.close("over")

    run(scenario())


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (Broken("closed the connection"), 503),
        (Busy(), 503),
        (ConnectionRefusedError(111, "x"), 503),
        (ServerAbsent("x"), 503),
        (TimeoutError(), 503),
        (Refused("no"), 502),
    ],
)
def test_what_keeps_it_from_being_opened_is_told(tmp_path: Path, trouble: Exception, status: int) -> None:
    async def scenario() -> None:
        server = Server(tmp_path)
        server.trouble = trouble
        refused = await server.talks.of(Party("a", {}))
        assert isinstance(refused, Reply)
        assert (refused.status, len(server.talks), server.released) == (status, 0, ["a"])
        server.trouble = None
        opened(await server.talks.of(Party("a", {})))
        server.talks.close("over")

    run(scenario())


def test_a_server_that_does_not_initialize_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thv_gateway.pipes.private_talks.OPEN_SECONDS", 0.05)

    async def scenario() -> None:
        server = Server(tmp_path)
        server.answer = None
        refused = await server.talks.introduced(Party("a", {}))
        assert isinstance(refused, Reply)
        assert (refused.status, len(server.talks)) == (503, 0)
        await asyncio.sleep(0)
        assert server.wires[0].has_left
        server.talks.close("over")

    run(scenario())


def test_a_process_that_was_initialised_before_is_not_asked_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Server(tmp_path)
        server.incarnation = "seat.1"
        server.estate.handshakes.keep("seat.1", Handshake(result=msgspec.Raw(msgspec.json.encode(INITIALIZED))))
        talk = opened(await server.talks.of(Party("a", {})))
        assert talk.handshake.version == "2025-06-18"
        assert server.wires[0].said == []
        server.talks.close("over")

    run(scenario())


def test_after_the_end_nothing_is_opened_and_nothing_is_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        before = len(asyncio.all_tasks())
        server = Server(tmp_path)
        for name in ("a", "b"):
            opened(await server.talks.of(Party(name, {})))
        server.talks.close("over")
        assert all(wire.is_closed for wire in server.wires)
        assert isinstance(await server.talks.of(Party("c", {})), Reply)
        assert len(server.talks) == 0
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == before

    run(scenario())


def test_a_refusal_carries_the_id_of_the_request() -> None:
    reply = Reply(503, b'{"jsonrpc":"2.0","error":{"code":-32603,"message":"x"}}')
    request = Message(kind=Kind.REQUEST, id=b'"7"', method="ping")
    assert json.loads(addressed(reply, request).body)["id"] == "7"
    assert addressed(reply, None) is reply


def test_a_client_that_comes_with_other_fields_is_spoken_for_with_these(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = Server(tmp_path)
        talk = opened(await server.talks.of(Party("one", {}, fields=((b"authorization", b"Bearer old"),))))
        other = opened(await server.talks.of(Party("two", {}, fields=((b"authorization", b"Bearer other"),))))
        again = opened(await server.talks.of(Party("one", {}, fields=((b"authorization", b"Bearer new"),))))
        assert again is talk
        assert server.parties[0].fields == ((b"authorization", b"Bearer new"),)
        assert server.parties[1].fields == ((b"authorization", b"Bearer other"),)
        assert other is not talk
        server.talks.close("the test is over")

    run(scenario())
