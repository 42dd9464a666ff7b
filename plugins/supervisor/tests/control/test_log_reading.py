"""The logs of a workload: of its lives, and of the gateway about it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from thv_core.errors import NotFound
from thv_core.model.plan import Deployment
from thv_supervisor.control import log_reading
from thv_supervisor.control.log_reading import proxy_log, server_log
from thv_supervisor.control.reconciler import Reconciler

LINES = b"a line\nthe last line\n"


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


async def served(control: Reconciler, tail: int | None = None) -> bytes:
    """Return the log of the server, whole or its end."""
    return b"".join(await server_log(control.ground.store.get("echo"), control.ground, tail, follow=False))


def proxied(control: Reconciler, tail: int | None = None, follow: bool = False) -> bytes:
    """Return what the gateway noted, whole or its end."""
    return b"".join(proxy_log(control.ground.store.get("echo"), control.ground, tail, follow))


def test_a_log_is_whole_or_its_last_lines(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        assert (await served(control), await served(control, 1)) == (LINES, b"the last line\n")
        assert proxied(control) == b""
        rig.paths.proxy_log("echo").write_bytes(b"one\ntwo\nthree\n")
        assert proxied(control) == b"one\ntwo\nthree\n"
        assert proxied(control, 2) == b"two\nthree\n"
        assert proxied(control, 0) == b""

    play(rig, story)


def test_a_log_begins_with_the_life_before_the_present_one(rig: Any) -> None:
    logs = rig.runtime.logs

    def labelled(deployment: Deployment, **window: Any) -> Iterator[bytes]:
        yield f"{deployment.label}\n".encode()
        yield from logs(deployment, **window)

    rig.runtime.logs = labelled

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await rig.story(await control.start("echo"))
        former, present = (f"{label}\n".encode() for label in rig.runtime.lives)
        await rig.until(lambda: len(control.ground.observatory.sees("memory", "echo")) == 2)
        assert await served(control) == former + LINES + present + LINES
        assert await served(control, 1) == present + b"the last line\n"

    play(rig, story)


def test_the_log_of_what_never_ran_is_not_found(rig: Any) -> None:
    going_on = threading.Event()
    rig.builder.build = lambda package, report: going_on.wait(20)

    async def story(control: Reconciler) -> None:
        await control.submit(rig.request())
        with pytest.raises(NotFound, match=r"there is no deployment echo\.1"):
            await served(control)
        going_on.set()

    play(rig, story)


def test_the_beginning_of_a_log_is_read_where_it_holds_up_nobody(rig: Any) -> None:
    threads: list[int] = []
    logs = rig.runtime.logs

    def noted(deployment: Deployment, **window: Any) -> Iterator[bytes]:
        threads.append(threading.get_ident())
        yield from logs(deployment, **window)

    rig.runtime.logs = noted

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        await served(control)
        assert threads
        assert threading.get_ident() not in threads

    play(rig, story)


def test_a_followed_proxy_log_ends_with_its_workload(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reading, "PAUSE", 0.01)

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        rig.paths.proxy_log("echo").write_bytes(b"one\n")
        pieces: list[bytes] = []
        following = proxy_log(control.ground.store.get("echo"), control.ground, None, follow=True)
        reading = asyncio.create_task(asyncio.to_thread(lambda: pieces.extend(following)))
        # An empty piece says that it has read everything and waits.
        await rig.until(lambda: len(pieces) > 1)
        with rig.paths.proxy_log("echo").open("ab") as log:
            log.write(b"two\n")
        await rig.until(lambda: b"two\n" in pieces)
        assert not reading.done()
        await control.remove("echo")
        await asyncio.wait_for(reading, 10)
        assert b"".join(pieces) == b"one\ntwo\n"

    play(rig, story)
