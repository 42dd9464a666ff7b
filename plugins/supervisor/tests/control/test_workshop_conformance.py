"""The workshop of control does what every workshop does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from thv_core.spi import Workshop
from thv_core.spi.egress import Egress
from thv_supervisor.control.workshop import IsolatedWorkshop
from thv_testkit.fakes import SocketlessEgress
from thv_testkit.workshops import WorkshopContract

LIMIT = 20.0


@contextmanager
def working(rig: Any) -> Iterator[Workshop]:
    """Give the workshop of a control that lives in a thread of its own, as seen by a builder in its worker thread."""
    begun: Future[tuple[Workshop, Callable[[], None]]] = Future()

    async def life() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        async with rig.control() as control:
            workshop = IsolatedWorkshop("processes", control.ground, loop)
            begun.set_result((workshop, lambda: loop.call_soon_threadsafe(over.set)))
            await over.wait()

    with ThreadPoolExecutor(1) as thread:
        lived = thread.submit(lambda: asyncio.run(life()))
        workshop, end = begun.result(LIMIT)
        try:
            yield workshop
        finally:
            end()
            lived.result(LIMIT)


class TestIsolatedWorkshop(WorkshopContract):
    """Jobs are processes of the runtime without isolation, and the rules of the profile are the real ones."""

    @pytest.fixture
    def workshop(self, rig: Any) -> Iterator[Workshop]:
        """Give the workshop of a control over fakes."""
        rig.drivers.handed[Egress, "names"] = SocketlessEgress(rig.paths.state / "egress")
        with working(rig) as workshop:
            yield workshop
