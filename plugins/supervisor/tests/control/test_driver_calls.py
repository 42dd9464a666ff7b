"""Synchronous drivers, called from the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from thv_core.errors import NotFound, PluginBroken, TimedOut
from thv_supervisor.control.driver_calls import WORKERS, DriverCalls


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """An event on which calls hang until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def once() -> None:
        await asyncio.wait_for(story(), 30)

    asyncio.run(once())


def test_a_call_runs_in_a_thread_and_returns_its_result() -> None:
    async def story() -> None:
        thread = await DriverCalls().run("driver", 10, threading.get_ident)
        assert thread != threading.get_ident()

    play(story)


def test_a_call_that_takes_too_long_is_named(release: threading.Event) -> None:
    async def story() -> None:
        with pytest.raises(TimedOut, match=r"^runtime slow did not finish within 0\.05 s$") as raised:
            await DriverCalls().run("runtime slow", 0.05, lambda: release.wait(20))
        assert raised.value.hint == ""
        release.set()

    play(story)


def test_a_driver_that_hangs_in_every_thread_blocks_no_other(release: threading.Event) -> None:
    async def story() -> None:
        calls = DriverCalls()
        hanging = [asyncio.create_task(calls.run("hangs", 20, lambda: release.wait(20))) for _ in range(WORKERS + 2)]
        assert await calls.run("other", 10, lambda: 5) == 5
        with pytest.raises(TimedOut):
            await calls.run("hangs", 0.05, lambda: 1)
        release.set()
        assert await asyncio.gather(*hanging) == [True] * len(hanging)

    play(story)


def test_an_error_of_thv_passes_unchanged() -> None:
    failure = NotFound("nothing")

    def fail() -> None:
        raise failure

    async def story() -> None:
        with pytest.raises(NotFound) as raised:
            await DriverCalls().run("driver", 10, fail)
        assert raised.value is failure

    play(story)


def test_a_foreign_error_stops_here_and_names_the_driver() -> None:
    async def story() -> None:
        with pytest.raises(PluginBroken, match="runtime x failed") as raised:
            await DriverCalls().run("runtime x", 10, lambda: 1 // 0)
        assert raised.value.evidence == ("ZeroDivisionError: integer division or modulo by zero",)

    play(story)


def test_a_failure_is_told_with_the_distribution_that_the_driver_is_from(release: threading.Event) -> None:
    async def story() -> None:
        calls = DriverCalls(lambda driver: f"the {driver} of acme")
        with pytest.raises(PluginBroken, match="the runtime x of acme failed"):
            await calls.run("runtime x", 10, lambda: 1 // 0)
        with pytest.raises(TimedOut, match="the runtime x of acme did not finish"):
            await calls.run("runtime x", 0.05, lambda: release.wait(20))
        release.set()

    play(story)


def test_what_a_secret_store_says_of_its_failure_is_not_told() -> None:
    def fail() -> None:
        raise KeyError("v4lue")

    async def story() -> None:
        with pytest.raises(PluginBroken, match="secrets vault failed") as raised:
            await DriverCalls().run("secrets vault", 10, fail)
        assert raised.value.evidence == ("KeyError",)

    play(story)
