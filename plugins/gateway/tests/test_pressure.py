"""Readers that are slow make their server wait, those that do not read are given up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from thv_core.model.message import Kind, Message
from thv_gateway.pipes import mailbox as mailbox_module
from thv_gateway.pipes import pressure as module
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.pipes.pressure import ALONE_SECONDS, SHARED_SECONDS, STALL_SECONDS, Pressure
from thv_testkit.fakes import FakeClock

NOTE = Message(kind=Kind.NOTIFICATION, method="x")


@pytest.fixture
def pressure(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Pressure:
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(mailbox_module, "HIGH_MESSAGES", 4)
    return Pressure()


def filled(pressure: Pressure, number: int = 5) -> Mailbox:
    box = Mailbox(pressure)
    for _ in range(number):
        box.put(NOTE)
    return box


def test_a_server_waits_until_half_of_it_is_sent(pressure: Pressure) -> None:
    assert filled(pressure, 4) is not None
    assert pressure.rest(alone=False) == 0
    box = filled(pressure)
    rests: list[float] = []

    async def read() -> None:
        for _ in range(3):
            rests.append(pressure.rest(alone=False))
            await box.take()

    asyncio.run(read())
    assert all(rests)
    assert pressure.rest(alone=False) == 0
    assert not box.overflowed


@pytest.mark.parametrize(("alone", "seconds"), [(False, SHARED_SECONDS), (True, ALONE_SECONDS)])
def test_a_reader_that_takes_nothing_is_given_up(
    pressure: Pressure, clock: FakeClock, *, alone: bool, seconds: float
) -> None:
    box = filled(pressure)
    clock.advance(seconds - 0.1)
    assert pressure.rest(alone=alone) > 0
    assert not box.overflowed
    clock.advance(0.2)
    assert pressure.rest(alone=alone) == 0
    assert box.overflowed


def test_a_reader_that_only_trickles_does_not_hold_others_up_for_ever(pressure: Pressure, clock: FakeClock) -> None:
    box: Any = filled(pressure, 100)
    for _ in range(int(STALL_SECONDS)):
        clock.advance(1)
        asyncio.run(box.take())
        assert pressure.rest(alone=True) > 0
    clock.advance(1)
    assert pressure.rest(alone=False) == 0
    assert box.overflowed
