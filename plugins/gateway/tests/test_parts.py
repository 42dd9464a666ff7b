"""The small parts: mailboxes, sessions, calls, the chain, subscriptions, the log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thv_core.errors import PluginBroken, PluginNotFound
from thv_core.model.route import Route
from thv_core.spi import Kind, Message, Middleware, MiddlewareConfig, MiddlewareRecipe, Outcome, Reply, Stage
from thv_gateway.pipes import mailbox as mailbox_module
from thv_gateway.pipes.correlation import CANCEL_SECONDS, MAX_CALLS, Calls
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.pipes.subscriptions import Subscriptions
from thv_gateway.process.proxylog import BURST, ProxyLog
from thv_gateway.servers.handshake import Handshake, Handshakes, initialize_result
from thv_gateway.sessions.sessions import MAX_LIVE, Abilities, Sessions, abilities
from thv_gateway.stages.built_in import built_in_steps
from thv_gateway.stages.chain import Arrival, Chain, plugin_steps
from thv_gateway.stages.origin import OriginStage, Own
from thv_gateway.web import streams
from thv_gateway.web.streams import pump
from thv_testkit.fakes import FakeClock

NOTE = Message(kind=Kind.NOTIFICATION, method="x")


def sessions(workload: str = "time", key: bytes = b"k" * 32) -> Sessions:
    return Sessions(workload, key, os.urandom, lambda: 1.0)


class ReadingPeer:
    """A client that reads everything at once."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_finished = False
        self.on_piece: Callable[[], None] = lambda: None

    async def write(self, piece: bytes) -> None:
        self.sent.append(piece)
        self.on_piece()

    def finish(self) -> None:
        self.is_finished = True


def request(identifier: bytes = b"1", method: str = "tools/call") -> Message:
    return Message(kind=Kind.REQUEST, id=identifier, method=method)


# Mailboxes


def test_an_overflowing_mailbox_drops_everything_and_says_so() -> None:
    box = Mailbox()
    assert all(box.put(NOTE) for _ in range(mailbox_module.MAX_MESSAGES))
    assert not box.put(NOTE)
    assert box.overflowed
    assert asyncio.run(box.take()) is None


def test_a_mailbox_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_module, "MAX_BYTES", 100)
    box = Mailbox()
    big = Message(kind=Kind.NOTIFICATION, method="x", params={"a": b"y" * 60})
    assert box.put(big)
    assert not box.put(big)


def test_a_closed_mailbox_still_gives_what_it_holds() -> None:
    box = Mailbox()
    box.put(NOTE)
    box.close()
    assert not box.put(NOTE)

    async def taken() -> list[Message | None]:
        return [await box.take(), await box.take()]

    assert asyncio.run(taken()) == [NOTE, None]


def test_a_stream_that_overflowed_ends_with_an_error_event() -> None:
    box = Mailbox()
    for _ in range(mailbox_module.MAX_MESSAGES + 1):
        box.put(NOTE)
    peer: Any = ReadingPeer()

    async def outward(message: Message) -> Message:
        return message

    asyncio.run(pump(box, None, outward, peer, b"7"))
    assert b'"id":7,"error"' in b"".join(peer.sent)
    assert peer.is_finished


def test_a_quiet_stream_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEPALIVE_SECONDS", 0.001)
    box = Mailbox()
    peer: Any = ReadingPeer()
    peer.on_piece = lambda: box.close() if peer.sent.count(b": keep-alive\r\n\r\n") == 3 else None

    async def outward(message: Message) -> Message:
        return message

    asyncio.run(pump(box, None, outward, peer, b""))
    assert peer.is_finished


# Sessions


def test_a_session_id_is_accepted_by_whoever_has_the_key() -> None:
    opened = sessions().open("2025-06-18", Abilities.ROOTS)
    assert opened is not None
    found = sessions().find(opened.id)
    assert found is not None
    assert (found.version, found.abilities) == ("2025-06-18", Abilities.ROOTS)


@pytest.mark.parametrize("other", [sessions("fetch"), sessions(key=b"x" * 32)])
def test_a_session_id_of_another_workload_or_key_is_unknown(other: Sessions) -> None:
    opened = sessions().open("2025-06-18", Abilities.NONE)
    assert opened is not None
    assert other.find(opened.id) is None


def test_a_changed_session_id_is_unknown() -> None:
    opened = sessions().open("2025-06-18", Abilities.NONE)
    assert opened is not None
    for place in range(0, len(opened.id), 7):
        changed = opened.id[:place] + ("A" if opened.id[place] != "A" else "B") + opened.id[place + 1 :]
        assert sessions().find(changed) is None
    assert sessions().find("") is None
    assert sessions().find("\u00e9.x") is None


def test_idle_sessions_make_room_and_are_found_again() -> None:
    many = sessions()
    first = many.open("v", Abilities.NONE)
    busy = many.open("v", Abilities.NONE)
    assert first is not None
    assert busy is not None
    busy.calls = 1
    for _ in range(MAX_LIVE):
        assert many.open("v", Abilities.NONE) is not None
    assert many.find(busy.id) is busy
    found = many.find(first.id)
    assert found is not None
    assert found is not first


def test_what_a_client_declares_is_what_it_can() -> None:
    assert abilities({"sampling": b"{}", "roots": b"null", "other": b"{}"}) is Abilities.SAMPLING


# Calls


def test_a_call_past_its_deadline_ends_and_a_cancelled_one_ends_differently(clock: FakeClock) -> None:
    calls = Calls("g1", 10.0, lambda: clock.now)
    session = sessions().open("v", Abilities.NONE)
    silent, _ = calls.begin(request(b"1"), session)
    cancelled, _ = calls.begin(request(b"2"), session)
    own, _ = calls.begin(request(b"0"), None)
    calls.cancel(cancelled)
    clock.advance(CANCEL_SECONDS)
    assert calls.overdue() == []
    assert b"-32800" in asyncio.run(cancelled.mailbox.take()).error
    calls.stir(silent)
    clock.advance(9.9)
    assert calls.overdue() == []
    clock.advance(0.2)
    assert calls.overdue() == [silent]
    assert (silent.status, silent.fault) == (504, "timeout")
    assert list(calls) == [own]


def test_ids_of_another_process_answer_nothing() -> None:
    calls = Calls("g1", 10.0, lambda: 0.0)
    call, outgoing = calls.begin(request(), None)
    stranger = Message(kind=Kind.RESPONSE, id=outgoing.id.replace(b"g1", b"g0"), result=b"{}")
    assert calls.answered(stranger) is None
    assert calls.find(call.key) is call


def test_calls_are_bounded() -> None:
    calls = Calls("g1", 10.0, lambda: 0.0)
    for _ in range(MAX_CALLS):
        assert not calls.full
        calls.begin(request(), None)
    assert calls.full


def test_a_list_in_flight_does_not_make_a_session_an_owner_beside_a_working_one() -> None:
    calls = Calls("g1", 10.0, lambda: 0.0)
    known = sessions()
    working, listing = known.open("v", Abilities.NONE), known.open("v", Abilities.NONE)
    calls.begin(request(method="tools/list"), listing)
    assert calls.owners() == [listing]
    calls.begin(request(), working)
    assert calls.owners() == [working]


# The chain


class Noting(Middleware):
    def __init__(self, name: str, stage: Stage, notes: list[str]) -> None:
        self.name, self.stage, self.notes = name, stage, notes

    async def on_request(self, exchange: Any) -> Reply | None:
        self.notes.append(f"in {self.name}")
        return Reply(429) if exchange.path == self.name else None

    async def on_message(self, exchange: Any, message: Message) -> Message:
        self.notes.append(f"out {self.name}")
        return message

    async def on_end(self, exchange: Any, outcome: Outcome) -> None:
        self.notes.append(f"end {self.name}")


def walked(path: str) -> list[str]:
    notes: list[str] = []
    stages = (("c", Stage.HEADERS), ("a", Stage.AUDIT), ("b", Stage.RATE_LIMIT))
    chain = Chain([Noting(name, stage, notes) for name, stage in stages], lambda stage, error: None)
    arrival = Arrival(workload="w", method="POST", path=path, headers=())

    async def walk() -> None:
        if await chain.enter(arrival) is None:
            await chain.outward(arrival, NOTE)
        await chain.leave(arrival, Outcome(200, 0.0))

    asyncio.run(walk())
    return notes


def test_the_chain_walks_forward_for_the_request_and_backward_for_the_rest() -> None:
    assert walked("") == ["in a", "in b", "in c", "out c", "out b", "out a", "end c", "end b", "end a"]


def test_stages_behind_a_refusal_hear_nothing() -> None:
    assert walked("b") == ["in a", "in b", "end b", "end a"]


def test_a_missing_recipe_refuses_the_route() -> None:
    with pytest.raises(PluginNotFound, match="rate-limit"):
        plugin_steps([MiddlewareConfig(type="rate-limit")], {})


def test_a_recipe_that_builds_for_another_stage_refuses_the_route() -> None:
    recipe = MiddlewareRecipe("sly", Stage.HEADERS, lambda parameters: Noting("sly", Stage.AUDIT, []))
    with pytest.raises(PluginBroken, match="declares HEADERS and is AUDIT"):
        plugin_steps([MiddlewareConfig(type="sly")], {"sly": recipe})


def test_built_in_stages_cost_nothing_on_the_way_back() -> None:
    route = Route(workload="time", incarnation="time.1", port=1, log="")
    chain = Chain(built_in_steps(route, sessions(), OriginStage(Own(1))), lambda stage, error: None)
    assert (chain._outward, chain._ends) == ((), ())


@pytest.mark.parametrize("name", ["::1", "[::1]", "0:0::0001"])
def test_an_address_of_the_profile_is_a_host_however_it_is_written(name: str) -> None:
    stage = OriginStage(Own(8080), [name])

    def refused(host: bytes) -> bool:
        fields = ((b"host", host),)
        arrival = Arrival(workload="w", method="GET", path="/mcp", headers=fields, fields=dict(fields))
        return asyncio.run(stage.on_request(arrival)) is not None

    assert not any(map(refused, (b"[::1]:8080", b"[::1]")))
    assert all(map(refused, (b"::1", b"[::2]", b"localhost")))


# Handshakes, subscriptions, the log


def test_a_handshake_survives_and_is_forgotten_with_its_incarnation(tmp_path: Path) -> None:
    path = tmp_path / "handshakes.json"
    result = b'{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"x":1.50}'
    Handshakes(path).keep("time.1", Handshake(result=msgspec.Raw(result), tools=("a",)))
    stored = Handshakes(path).of("time.1")
    assert stored is not None
    assert (bytes(stored.result), stored.tools, stored.offers("tools")) == (result, ("a",), True)
    raw, version = initialize_result(stored, "2025-11-25")
    assert version == "2025-06-18"
    assert b'"x":1.50' in raw
    Handshakes(path).retain(["time.2"])
    assert Handshakes(path).of("time.1") is None


@pytest.mark.parametrize("data", [b"{", b"\0" * 99, b'{"\xff": {"result": {}}}', b'{"time.1": ' + b"[" * 99_999])
def test_a_damaged_handshake_file_is_no_handshakes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "handshakes.json"
    path.write_bytes(data)
    assert Handshakes(path).of("time.1") is None


def test_a_handshake_file_that_cannot_be_written_stops_no_route(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handshakes = Handshakes(tmp_path / "nowhere" / "handshakes.json")
    handshakes.keep("time.1", Handshake(result=msgspec.Raw(b"{}")))
    assert handshakes.of("time.1") is not None
    handshakes.retain(["time.2"])
    assert handshakes.of("time.1") is None
    assert "not written" in caplog.text


def test_only_the_last_subscriber_leaves_a_resource_to_unsubscribe() -> None:
    saves: list[int] = []
    subscriptions = Subscriptions({}, lambda: saves.append(1))
    subscriptions.add("one", "a")
    subscriptions.add("two", "a")
    subscriptions.add("two", "b")
    assert subscriptions.subscribers("a") == ["one", "two"]
    assert subscriptions.end("two") == ["b"]
    subscriptions.remove("one", "a")
    assert subscriptions.subscribers("a") == []
    assert len(saves) == 5


def test_the_log_is_bounded_in_rate_and_says_what_it_left_out(tmp_path: Path, clock: FakeClock) -> None:
    log = ProxyLog(str(tmp_path / "proxy.log"), lambda: clock.now)
    for number in range(BURST + 5):
        log.write("noise", f"line {number}\nforged")
    clock.advance(1)
    log.write("ready")
    lines = (tmp_path / "proxy.log").read_text().splitlines()
    assert len(lines) == BURST + 2
    assert lines[0].endswith("noise line 0?forged")
    assert lines[-2].endswith("suppressed 5 lines")


def test_a_log_that_cannot_be_written_disturbs_nobody() -> None:
    ProxyLog("/nonexistent/proxy.log").write("ready")
