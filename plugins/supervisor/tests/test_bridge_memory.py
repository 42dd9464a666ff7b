"""What a session in place of a forgotten one has to be told again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from thv_supervisor import bridge_memory
from thv_supervisor.bridge_memory import Memory


def asked(memory: Memory) -> list[tuple[str, dict[str, Any]]]:
    said = [json.loads(line) for line in memory.lines()]
    assert len({each["id"] for each in said}) == len(said)
    return [(each["method"], each["params"]) for each in said]


def note(memory: Memory, method: str, **params: object) -> None:
    memory.note(method, {"method": method, "params": params})


def test_the_last_level_and_what_is_still_subscribed_to_are_told_again() -> None:
    memory = Memory()
    note(memory, "resources/subscribe", uri="a:1")
    note(memory, "logging/setLevel", level="info")
    note(memory, "resources/subscribe", uri="a:2")
    note(memory, "resources/subscribe", uri="a:2")
    note(memory, "logging/setLevel", level="debug")
    note(memory, "resources/unsubscribe", uri="a:1")
    note(memory, "tools/list")
    assert asked(memory) == [("logging/setLevel", {"level": "debug"}), ("resources/subscribe", {"uri": "a:2"})]
    memory.clear()
    assert asked(memory) == []


def test_what_makes_no_sense_is_not_repeated() -> None:
    memory = Memory()
    memory.note("resources/subscribe", {"params": [1]})
    note(memory, "resources/subscribe", uri=5)
    assert asked(memory) == []


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_memory, "MOST_SUBSCRIPTIONS", 2)
    memory = Memory()
    for number in range(5):
        note(memory, "resources/subscribe", uri=f"a:{number}")
    assert [params["uri"] for _, params in asked(memory)] == ["a:0", "a:1"]
