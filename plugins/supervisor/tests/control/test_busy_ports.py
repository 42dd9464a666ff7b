"""A workload whose port another program has by the time that the gateway wants it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from thv_core.model.route import Route, RouteReport
from thv_core.model.status import Status
from thv_supervisor.control.reconciler import Reconciler


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def test_a_busy_port_refuses_a_first_start_that_asked_for_it_and_only_marks_a_later_one(rig: Any) -> None:
    busy = rig.gateway.failing("port 1 is in use", "port-unavailable")

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        control.ground.link.say(busy(rig.gateway.routes["echo"]))
        workload = await rig.becomes(control, "echo", Status.UNHEALTHY)
        assert (workload.reason, workload.restarts) == ("port 1 is in use", 0)
        assert rig.runtime.running() == ["echo.1"]
        control.ground.link.say(rig.gateway.ready(rig.gateway.routes["echo"]))
        assert (await rig.becomes(control, "echo", Status.RUNNING)).reason == ""
        rig.gateway.answer = busy
        heard = await rig.run(control, rig.request(request_id="two", name="two", proxy_port=free_port()))
        assert heard[-1].message == "port 1 is in use"
        await rig.gone(control, "two")

    play(rig, story)


def test_a_busy_port_that_nobody_asked_for_is_exchanged_once(rig: Any) -> None:
    ports: list[int] = []

    def busy_at_first(route: Route) -> RouteReport:
        ports.append(route.port)
        busy = rig.gateway.failing("port is in use", "port-unavailable")
        return (busy if len(ports) == 1 else rig.gateway.ready)(route)

    rig.gateway.answer = busy_at_first

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control)
        assert heard[-1] is None
        former, present = ports
        assert former != present
        assert control.view("echo").port == present
        assert control.ground.store.get("echo").config.port == present
        assert rig.gateway.routes["echo"].port == present
        assert rig.runtime.lives == ["echo.1"]

    play(rig, story)


def test_a_first_start_whose_second_port_is_busy_too_ends(rig: Any) -> None:
    rig.gateway.answer = rig.gateway.failing("port is in use", "port-unavailable")

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control)
        assert heard[-1].code == "port-unavailable"
        assert len(rig.gateway.published) == 2
        await rig.gone(control, "echo")

    play(rig, story)
