"""Whose a message of a server on a shared pipe is: never another principal's, and answered for who cannot answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from thv_core.spi import Kind, Message
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.parsing import members, parse_line
from thv_gateway.pipes.call import Call
from thv_gateway.pipes.conversation import Conversation
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.process.outlets import Outlets
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.servers.handshake import Handshakes
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.asked import Asked
from thv_gateway.sessions.memory import Recollection
from thv_gateway.sessions.sessions import Session, Sessions, abilities

TIMEOUT = 60.0
FORM = b'{"elicitation":{},"sampling":{}}'
LOG = {"method": "notifications/message", "params": {"level": "info", "data": "private"}}


class Bench:
    """A conversation over a shared pipe on which nothing runs, with a clock of its own."""

    congested = False

    def __init__(self, folder: Path) -> None:
        recollection = Recollection()
        self.sessions = Sessions("w", b"k" * 32, _counting(), lambda: 1.0, recollection)
        estate = Estate(
            sessions=self.sessions,
            handshakes=Handshakes(folder / "handshakes.json"),
            outlets=cast("Outlets", None),
            log=ProxyLog(str(folder / "proxy.log")),
            prefix="g",
            recollection=recollection,
            remember=lambda: None,
            asked=Asked(),
        )
        self.now = 0.0
        self.sent: list[dict[str, Any]] = []
        self.talk = Conversation(self, estate, "k", TIMEOUT)
        self.talk.delivery.is_heard = True
        calls = cast("Any", self.talk.calls)
        calls._clock = calls._owners._clock = lambda: self.now

    def send(self, message: Message) -> None:
        """Take what the gateway sends to the server."""
        self.sent.append(json.loads(assemble(message)))

    def client(self, owner: str, declared: bytes = FORM, *, listens: bool = False) -> Session:
        """Return a session of a principal."""
        session = self.sessions.open("2025-11-25", abilities(members(declared)), owner, declared)
        assert session is not None
        if listens:
            session.stream = Mailbox()
        return session

    def call(self, session: Session, method: str = "tools/call") -> Call:
        """Let a client call."""
        request = Message(kind=Kind.REQUEST, id=b"1", method=method, has_params=True)
        call, outgoing = self.talk.begin(request, session)
        self.talk.send(outgoing)
        return call

    def says(self, **message: Any) -> None:
        """Let the server say something."""
        parsed = parse_line(json.dumps({"jsonrpc": "2.0"} | message).encode())
        assert parsed is not None
        self.talk.take(parsed)

    def asks(self, method: str = "elicitation/create", **params: Any) -> str:
        """Let the server ask something; return the error that it gets at once, if any."""
        self.says(id="q", method=method, params=params)
        last = self.sent[-1]
        return last["error"]["message"] if last.get("id") == "q" else ""

    def cancel(self, call: Call) -> None:
        """Cancel a call, and let the server answer nothing but the ping that follows."""
        self.talk.calls.end(call)
        self.talk.tell_cancelled(call)
        assert self.sent[-1]["method"] == "ping"
        self.says(id=self.sent[-1]["id"], result={})


def _counting() -> Callable[[int], bytes]:
    count = iter(range(1 << 16))
    return lambda size: next(count).to_bytes(size, "big")


def waiting(where: Call | Session) -> int:
    mailbox = where.mailbox if isinstance(where, Call) else where.stream
    return len(cast("Any", mailbox)._items)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., None]:
    """Run a test with a bench."""

    def run(work: Callable[[Bench], None]) -> None:
        async def within() -> None:
            work(Bench(tmp_path))

        asyncio.run(within())

    return run


def test_the_only_call_in_flight_is_asked(bench: Callable[..., None]) -> None:
    def work(bench: Bench) -> None:
        call = bench.call(bench.client("ada"))
        assert bench.asks() == ""
        assert waiting(call) == 1

    bench(work)


@pytest.mark.parametrize("owner", ["ada", "eve"])
def test_a_parked_call_is_passed_over_for_its_own_principal_only(bench: Callable[..., None], owner: str) -> None:
    def work(bench: Bench) -> None:
        bench.call(bench.client("ada")).parked = True
        other = bench.call(bench.client(owner))
        refused = bench.asks()
        assert ("several clients" in refused) is (owner == "eve")
        assert ("per-client" in refused) is (owner == "eve")
        bench.says(**LOG)
        assert waiting(other) == (0 if owner == "eve" else 2)

    bench(work)


@pytest.mark.parametrize("method", ["tools/list", "completion/complete", "resources/subscribe"])
def test_whatever_another_principal_asked_of_the_server_makes_a_question_ambiguous(
    bench: Callable[..., None], method: str
) -> None:
    def work(bench: Bench) -> None:
        listing = bench.call(bench.client("eve"), method)
        mine = bench.call(bench.client("ada"))
        assert "several clients" in bench.asks()
        assert (waiting(listing), waiting(mine)) == (0, 0)

    bench(work)


def test_a_ping_of_another_principal_disturbs_no_question(bench: Callable[..., None]) -> None:
    def work(bench: Bench) -> None:
        bench.call(bench.client("eve"), "ping")
        mine = bench.call(bench.client("ada"))
        assert bench.asks() == ""
        assert waiting(mine) == 1

    bench(work)


@pytest.mark.parametrize("owner", ["ada", "eve"])
def test_a_cancelled_call_is_over_with_the_pong_but_not_beside_another_principal(
    bench: Callable[..., None], owner: str
) -> None:
    def work(bench: Bench) -> None:
        bench.cancel(bench.call(bench.client("ada")))
        mine = bench.call(bench.client(owner))
        assert ("several clients" in bench.asks()) is (owner == "eve")
        bench.now += TIMEOUT + 1
        bench.says(id="other", method="elicitation/create", params={})
        assert waiting(mine) == (1 if owner == "eve" else 2)

    bench(work)


def test_a_late_answer_ends_what_a_cancelled_call_stands_for(bench: Callable[..., None]) -> None:
    def work(bench: Bench) -> None:
        call = bench.call(bench.client("ada"))
        bench.cancel(call)
        bench.says(id=json.loads(call.key), result={})
        mine = bench.call(bench.client("eve"))
        assert bench.asks() == ""
        assert waiting(mine) == 1

    bench(work)


@pytest.mark.parametrize("served", ["ada", "eve"])
def test_who_only_listens_hears_nothing_of_another_principal(bench: Callable[..., None], served: str) -> None:
    def work(bench: Bench) -> None:
        call = bench.call(bench.client(served))
        bench.says(id=json.loads(call.key), result={})
        listener = bench.client("ada", listens=True)
        assert (bench.asks() == "") is (served == "ada")
        bench.says(**LOG)
        assert waiting(listener) == (2 if served == "ada" else 0)

    bench(work)


def test_what_was_asked_about_a_call_is_forgotten_when_the_call_is_over(bench: Callable[..., None]) -> None:
    def work(bench: Bench) -> None:
        session = bench.client("ada")
        bench.call(session)
        bench.asks()
        bench.now += TIMEOUT + 1
        bench.talk.cancel_overdue()
        assert bench.sent[-1]["id"] == "q"
        assert "has ended" in bench.sent[-1]["error"]["message"]
        assert cast("Any", bench.talk.delivery)._asked == {}

    bench(work)


def test_cancelled_calls_that_are_never_answered_are_bounded(
    bench: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thv_gateway.pipes.correlation.MAX_LATE", 8)

    def work(bench: Bench) -> None:
        calls, session = cast("Any", bench.talk.calls), bench.client("ada")
        for _ in range(100):
            call = bench.call(session)
            calls.end(call)
            bench.talk.tell_cancelled(call)
        kept = (calls._open, calls._late, calls._owners._given_up, calls._settling)
        assert max(map(len, kept)) <= 8

    bench(work)


def test_a_server_that_reads_nothing_is_sent_no_pings(bench: Callable[..., None]) -> None:
    def work(bench: Bench) -> None:
        call = bench.call(bench.client("ada"))
        bench.congested = True
        bench.talk.tell_cancelled(call)
        assert [message["method"] for message in bench.sent] == ["tools/call", "notifications/cancelled"]

    bench(work)


@pytest.mark.parametrize(
    ("method", "params", "part"),
    [
        ("elicitation/create", {"mode": "url", "url": "https://x"}, {"elicitation": {"url": {}}}),
        ("sampling/createMessage", {"tools": []}, {"sampling": {"tools": {}}}),
        ("sampling/createMessage", {"toolChoice": {}}, {"sampling": {"tools": {}}}),
    ],
)
def test_what_came_later_is_asked_of_those_who_declared_it(
    bench: Callable[..., None], method: str, params: dict[str, Any], part: dict[str, Any]
) -> None:
    def work(bench: Bench) -> None:
        call = bench.call(bench.client("ada"))
        assert "did not declare" in bench.asks(method, **params)
        bench.says(id=json.loads(call.key), result={})
        able = bench.call(bench.client("ada", json.dumps(part).encode()))
        assert bench.asks(method, **params) == ""
        assert waiting(able) == 1

    bench(work)
