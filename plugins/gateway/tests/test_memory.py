"""What is remembered of sessions: bounded, kept in a private file, and read again by the next gateway."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from thv_gateway.sessions import memory as module
from thv_gateway.sessions.memory import Memory, Recollection, Stay
from thv_gateway.sessions.sessions import Abilities, Sessions

PARAMS = {"protocolVersion": b'"2025-06-18"', "capabilities": b'{"roots":{}}', "clientInfo": b"{}", "_meta": b"{}"}


def test_it_is_read_again_with_nothing_lost(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    memory = Memory(path)
    known = memory.of("w")
    known.admit("a", PARAMS, "w.1", Stay("x"))
    known.visitors["a"].stays["w.2"] = Stay("y", "2025-11-25")
    known.subscriptions["a"] = ["file:///a"]
    known.want_level("a", "info")
    known.end("payload.signature-of-a-session")
    memory.changed()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Memory(path).of("w")
    assert {name: bytes(raw) for name, raw in again.visitors["a"].params.items()} == {
        name: PARAMS[name] for name in ("protocolVersion", "capabilities", "clientInfo")
    }
    assert again.visitors["a"].stays == {"w.1": Stay("x"), "w.2": Stay("y", "2025-11-25")}
    assert (again.subscriptions, again.levels) == ({"a": ["file:///a"]}, {"a": "info"})
    assert again.has_ended("payload.signature-of-a-session")
    assert not again.has_ended("payload.signature-of-another")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"w": 5}',
        b"[]",
        b"\0" * 99,
        b'{"\xff": {}}',
        b'{"w":{"levels":{"a":"\xff"}}}',
        b'{"w":' + b"[" * 99_999,
    ],
)
def test_a_file_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "sessions.json").write_bytes(data)
    assert Memory(tmp_path / "sessions.json").of("w").visitors == {}


def test_a_file_that_cannot_be_written_disturbs_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Memory(tmp_path / "nowhere" / "sessions.json").changed()
    assert "not written" in caplog.text


def test_a_file_that_takes_long_is_written_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    monkeypatch.setattr(module, "write_private", lambda path, data: writes.append(data))
    monkeypatch.setattr(module, "_QUICK_SECONDS", 0.0)

    async def change() -> None:
        memory = Memory(tmp_path / "sessions.json")
        for _ in range(100):
            memory.changed()
        memory.flush()
        memory.flush()

    asyncio.run(change())
    assert len(writes) == 1


def test_the_session_idle_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VISITORS", 3)
    known = Recollection()
    for name in "abc":
        known.admit(name, PARAMS, "w.1", Stay(name))
    known.touch("a")
    known.admit("d", PARAMS, "w.1", Stay("d"))
    assert list(known.visitors) == ["c", "a", "d"]


def test_a_client_that_introduces_itself_at_length_is_remembered_without_its_name() -> None:
    known = Recollection()
    known.admit("a", {**PARAMS, "clientInfo": b"x" * module.MAX_PARAMS}, "w.1", Stay("a"))
    assert list(known.visitors["a"].params) == ["protocolVersion", "capabilities"]
    known.admit("b", {"protocolVersion": b"x" * (module.MAX_PARAMS + 1)}, "w.1", Stay("b"))
    assert known.visitors["b"].params == {}


def test_what_else_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MAX_ENDED", "MAX_LEVELS", "MAX_ABSENT"):
        monkeypatch.setattr(module, name, 2)
    known = Recollection()
    for name in "abc":
        known.end(name)
        known.want_level(name, "info")
    assert list(known.ended) == list(known.levels) == ["b", "c"]
    memory = Memory(tmp_path / "sessions.json")
    for name in "abcd":
        memory.of(name).want_level("x", "info")
    memory.retain({"d": ["d.1"]})
    assert memory.of("a").levels == {}
    assert memory.of("b").levels != {}


def test_stays_at_lives_that_are_over_are_forgotten(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "sessions.json")
    memory.of("w").admit("a", PARAMS, "w.1", Stay("x"))
    memory.of("w").visitors["a"].stays["w.2"] = Stay("y")
    memory.retain({"w": ["w.2"]})
    assert Memory(tmp_path / "sessions.json").of("w").visitors["a"].stays == {"w.2": Stay("y")}


def test_a_level_that_is_none_of_mcp_is_not_remembered() -> None:
    known = Recollection()
    known.want_level("a", "x" * 1_000_000)
    assert known.levels == {}


@pytest.mark.parametrize(
    ("asked", "besides", "level"),
    [("", None, "info"), ("debug", None, "debug"), ("error", None, "info"), ("error", "a", "error"), ("?", None, "")],
)
def test_the_most_verbose_level_serves_everyone(asked: str, besides: str | None, level: str) -> None:
    known = Recollection()
    known.want_level("a", "info")
    assert known.most_verbose(asked, besides) == level


def test_a_session_of_a_life_that_spoke_http_is_known_over_pipes() -> None:
    known = Recollection()
    sessions = Sessions("w", b"k" * 32, bytes, lambda: 1.0, known)
    assert sessions.find("abc") is None
    assert sessions.anonymous() is None
    known.admit("abc", PARAMS, "w.1", Stay("abc"))
    known.admit("", PARAMS, "w.1", Stay(""))
    found = sessions.find("abc")
    assert found is not None
    assert (found.id, found.version, found.abilities) == ("abc", "2025-06-18", Abilities.ROOTS)
    assert sessions.anonymous() is not None
    sessions.end(found)
    assert sessions.find("abc") is None


def test_an_ended_session_is_refused_by_the_next_gateway() -> None:
    known = Recollection()
    session = Sessions("w", b"k" * 32, bytes, lambda: 1.0, known).open("2025-11-25", Abilities.NONE)
    assert session is not None
    later = Sessions("w", b"k" * 32, bytes, lambda: 1.0, known)
    assert later.find(session.id) is not None
    later.end(session)
    assert Sessions("w", b"k" * 32, bytes, lambda: 1.0, known).find(session.id) is None
