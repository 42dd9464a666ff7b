"""Tools that change: listed anew one at a time, however often a server says so."""

from __future__ import annotations

import asyncio

import pytest

from thv_gateway.pipes.pipe import ServerAbsent
from thv_gateway.servers import relisting
from thv_gateway.servers.relisting import Relisting


def test_changes_while_a_list_is_made_make_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relisting, "AGAIN_SECONDS", 0.0)

    async def work() -> None:
        count, begun, answered = 0, asyncio.Event(), asyncio.Event()

        async def relist() -> None:
            nonlocal count
            count += 1
            begun.set()
            await answered.wait()

        tasks: list[asyncio.Task[None]] = []
        some = Relisting(relist, lambda work: tasks.append(asyncio.ensure_future(work)))
        some.changed()
        async with asyncio.timeout(5):
            await begun.wait()
            for _ in range(100):
                some.changed()
            answered.set()
            await tasks[0]
        assert (count, len(tasks)) == (2, 1)

    asyncio.run(work())


def test_a_server_that_was_gone_is_listed_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relisting, "AGAIN_SECONDS", 0.0)

    async def work() -> None:
        asked: list[str] = []
        tasks: list[asyncio.Task[None]] = []

        async def relist() -> None:
            asked.append("tools/list")
            if len(asked) == 1:
                raise ServerAbsent

        some = Relisting(relist, lambda work: tasks.append(asyncio.ensure_future(work)))
        for _ in range(2):
            some.changed()
            await tasks[-1]
        assert len(asked) == len(tasks) == 2

    asyncio.run(work())
