"""Whose session is whose at a life of a server that keeps sessions, and what ends one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from thv_core.model.message import Kind, Message
from thv_core.model.route import Terms
from thv_gateway.client.connection import Head
from thv_gateway.relays import visits as module
from thv_gateway.relays.visits import Visits
from thv_gateway.sessions.memory import Recollection, Stay
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.stages.chain import Arrival

CALL = Message(kind=Kind.REQUEST, id=b"7", method="tools/call", params={}, has_params=True)
PARAMS = {"protocolVersion": b'"2025-06-18"', "capabilities": b"{}", "clientInfo": b"{}"}


def visits(known: Recollection, incarnation: str = "w.2") -> Visits:
    link: Any = SimpleNamespace(
        route=SimpleNamespace(workload="w", incarnation=incarnation, terms=Terms()),
        added=(),
        client=None,
        passed=frozenset(),
        keeps_sessions=lambda: None,
    )
    estate: Any = SimpleNamespace(
        sessions=Sessions("w", b"k" * 32, bytes, lambda: 1.0, known), recollection=known, remember=lambda: None
    )
    return Visits(link, estate)


def arriving(session: str, method: str = "POST") -> Arrival:
    message = CALL if method == "POST" else None
    arrival = Arrival(workload="w", method=method, path="/mcp", headers=(), message=message)
    arrival.session = session
    return arrival


def test_a_session_that_a_former_life_knows_no_more_goes_on_at_the_next_one() -> None:
    known = Recollection()
    known.admit("a", PARAMS, "w.1", Stay("a"))
    known.visitors["a"].stays["w.2"] = Stay("b", "2025-11-25")
    visits(known, "w.1").outward(arriving("a"), Head(404, {}))
    assert known.visitors["a"].stays == {"w.2": Stay("b", "2025-11-25")}
    visits(known, "w.2").outward(arriving("a"), Head(404, {}))
    assert known.visitors == {}


def test_a_session_that_its_client_ends_is_over_at_every_life() -> None:
    known = Recollection()
    known.admit("a", PARAMS, "w.1", Stay("a"))
    known.visitors["a"].stays["w.2"] = Stay("b", "2025-11-25")
    visits(known).outward(arriving("a", "DELETE"), Head(200, {}))
    assert known.visitors == {}


def test_a_session_that_ends_while_it_is_introduced_stays_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Recollection()
    known.admit("a", PARAMS, "w.1", Stay("a"))

    class Interview:
        session = "b"

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        async def introduce(self, params: dict[str, bytes]) -> Any:
            known.end("a")
            return SimpleNamespace(version="2025-11-25")

    monkeypatch.setattr(module, "Interview", Interview)

    async def work() -> None:
        refused = await visits(known).introduce(arriving("a"))
        assert refused is not None
        assert refused.status == 404

    asyncio.run(work())
    assert known.visitors == {}
