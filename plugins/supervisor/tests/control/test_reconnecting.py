"""The network of servers through starts, ends, and gateways and controls that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from thv_core.errors import NotFound, RuntimeUnavailable, StartFailed
from thv_core.model.profile import Network, Outbound, PermissionProfile
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Status
from thv_supervisor.control.reconciler import Reconciler

PROFILE = PermissionProfile(name="some", network=Network(outbound=Outbound(allow_host=("example.test",))))
OUTWARD = {"permission_profile": PROFILE}


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


def test_a_server_that_reaches_out_is_connected_before_it_runs(rig: Any) -> None:
    rig.environment |= {"https_proxy": "http://proxy.example", "NO_PROXY": "a"}

    async def story(control: Reconciler) -> None:
        assert (await rig.run(control, rig.request(**OUTWARD)))[-1] is None
        assert rig.enterings.sent == [("echo.1", 1001)]
        assert rig.gateway.outlets == {"echo": {"echo.1"}}
        (handover,) = control.ground.network.handovers
        assert handover.network == PROFILE.network
        assert (handover.plan.ports, handover.plan.connectors) == ((80, 443), 0)
        assert handover.proxies == {"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": "a"}

    play(rig, story)


def test_a_server_of_an_http_transport_gets_connectors_and_reaches_nothing(rig: Any) -> None:
    config = RunConfig(name="web", image="fake://echo@1.0.0", transport="streamable-http", target_port=8000)

    async def story(control: Reconciler) -> None:
        assert (await rig.run(control, rig.request(server="", run_config=config)))[-1] is None
        (handover,) = control.ground.network.handovers
        assert (handover.plan.pool, handover.plan.ports, handover.plan.connectors) == ("", (), 64)
        assert rig.gateway.outlets == {"web": {"web.1"}}

    play(rig, story)


def test_a_server_that_reaches_nothing_has_no_outlet(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control)
        assert rig.gateway.outlets == {}
        assert control.ground.network.handovers == []

    play(rig, story)


def test_a_gateway_that_refuses_fails_a_first_start_with_its_reason(rig: Any) -> None:
    rig.gateway.refused["echo.1"] = "its egress is broken"

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control, rig.request(**OUTWARD))
        assert isinstance(heard[-1], StartFailed)
        assert "its egress is broken" in heard[-1].message
        await rig.gone(control, "echo")
        assert rig.runtime.lives == []
        assert rig.gateway.outlets == {}

    play(rig, story)


def test_sockets_that_cannot_be_made_fail_a_first_start(rig: Any) -> None:
    rig.enterings.failure = RuntimeUnavailable("it may not enter")

    async def story(control: Reconciler) -> None:
        heard = await rig.run(control, rig.request(**OUTWARD))
        assert heard[-1].message == "it may not enter"
        await rig.gone(control, "echo")
        assert (rig.runtime.running(), rig.gateway.outlets) == ([], {})

    play(rig, story)


def test_a_new_life_has_the_outlet_alone_and_a_stop_ends_it(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**OUTWARD))
        rig.runtime.exit("echo.1", 9)
        await rig.until(lambda: control.view("echo").restarts == 1 and control.view("echo").status is Status.RUNNING)
        (second,) = rig.runtime.running()
        assert rig.gateway.outlets == {"echo": {second}}
        await rig.until(lambda: rig.gateway.served == {second})
        await control.stop("echo", 0)
        await rig.becomes(control, "echo", Status.STOPPED)
        assert rig.gateway.outlets == {}
        assert rig.gateway.served == set()

    play(rig, story)


def test_a_later_control_makes_the_sockets_anew_that_nobody_has(rig: Any) -> None:
    async def first(control: Reconciler) -> None:
        await rig.run(control, rig.request(**OUTWARD))

    async def second(control: Reconciler) -> None:
        await rig.until(lambda: "echo.1" in rig.gateway.served)
        assert rig.enterings.sent == [("echo.1", 1001), ("echo.1", 2001)]
        assert rig.runtime.lives == ["echo.1"]
        assert control.view("echo").notes == ()

    play(rig, first)
    rig.gateway.served.clear()
    play(rig, second)


def test_a_later_control_leaves_alone_what_the_gateway_still_has(rig: Any) -> None:
    async def first(control: Reconciler) -> None:
        await rig.run(control, rig.request(**OUTWARD))

    async def second(control: Reconciler) -> None:
        await control.look()
        await rig.until(lambda: control.view("echo").pid)
        assert rig.enterings.sent == [("echo.1", 1001)]

    play(rig, first)
    play(rig, second)


@pytest.mark.parametrize("failure", [NotFound("it does not run"), RuntimeUnavailable("no engine")])
def test_sockets_that_cannot_be_made_anew_are_a_note_and_tried_again(rig: Any, failure: Exception) -> None:
    async def first(control: Reconciler) -> None:
        await rig.run(control, rig.request(**OUTWARD))

    async def second(control: Reconciler) -> None:
        await rig.until(lambda: control.view("echo").notes)
        assert control.view("echo").notes == (f"its network is not connected: {failure}",)
        assert control.view("echo").status is Status.RUNNING
        assert rig.runtime.running() == ["echo.1"]
        rig.runtime.no_namespace = None
        await rig.until(lambda: "echo.1" in rig.gateway.served)
        await rig.until(lambda: not control.view("echo").notes)

    play(rig, first)
    rig.gateway.served.clear()
    rig.runtime.no_namespace = failure
    play(rig, second)


def test_a_refusal_after_the_start_is_a_note_and_ends_nothing(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request(**OUTWARD))
        rig.gateway.refused["echo.1"] = "too many connections"
        control.wake("echo")
        await control.look()
        assert control.view("echo").notes == ("the gateway refuses its network: too many connections",)
        assert control.view("echo").status is Status.RUNNING

    play(rig, story)


def test_an_adoption_ends_outlets_of_nobody(rig: Any) -> None:
    rig.gateway.outlets = {"prepare-uv-9": ("prepare-uv-9.9",)}

    async def story(control: Reconciler) -> None:
        assert rig.gateway.outlets == {}

    play(rig, story)
