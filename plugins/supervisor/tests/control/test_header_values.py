"""Secrets that requests to a server carry: from the store and the shell into the memory of the gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from thv_core.errors import SecretStoreFailed
from thv_core.model.route import ForwardHeader
from thv_core.model.serving import HeaderForward
from thv_core.model.status import Status
from thv_core.spi.gateways import ROUTES_FILE
from thv_core.spi.runtimes import Runtime

URL = "https://mcp.example/mcp"
HEADERS = HeaderForward(
    add_plaintext_headers={"X-Team": "search"},
    add_headers_from_secret={"Authorization": "token", "X-Key": "env:KEY"},
)


@pytest.fixture
def request_far(rig: Any) -> Any:
    """A request for a server somewhere else whose secrets are at hand."""
    rig.drivers.handed[Runtime, "remote"] = rig.runtime
    rig.secrets.set("token", "v4lue")
    headers = {"header_forward": HEADERS, "shell_values": {"env:KEY": "k3y"}}
    return rig.request(URL, name="far", transport="streamable-http", **headers)


def test_the_gateway_gets_the_values_and_the_route_their_names(rig: Any, request_far: Any) -> None:
    async def story() -> None:
        async with rig.control() as control:
            await rig.run(control, request_far)
            assert rig.gateway.routes["far"].forward_headers == (
                ForwardHeader(name="X-Team", value="search"),
                ForwardHeader(name="Authorization", secret="token"),
                ForwardHeader(name="X-Key", secret="env:KEY of far"),
            )
            assert rig.gateway.values["far"] == {"token": "v4lue", "env:KEY of far": "k3y"}
            for file in rig.paths.state.rglob("*"):
                if file.is_file():
                    assert b"v4lue" not in file.read_bytes(), file
            assert not (rig.paths.gateway / ROUTES_FILE).exists()

    asyncio.run(story())


def test_a_changed_secret_reaches_the_gateway_with_the_next_look(rig: Any, request_far: Any) -> None:
    async def story() -> None:
        async with rig.control() as control:
            await rig.run(control, request_far)
            rig.secrets.set("token", "n3w")
            control.wake("far")
            await rig.until(lambda: rig.gateway.values["far"]["token"] == "n3w")

    asyncio.run(story())


def test_a_missing_secret_stops_a_first_start_and_says_so(rig: Any, request_far: Any) -> None:
    async def story() -> None:
        async with rig.control() as control:
            rig.secrets.delete("token")
            heard = await rig.run(control, request_far)
            assert heard[-1].code == "secret-not-found"
            await rig.gone(control, "far")
            assert not rig.gateway.values.get("far")

    asyncio.run(story())


def test_a_secret_that_goes_away_leaves_the_workload_in_error_with_what_to_do(rig: Any, request_far: Any) -> None:
    async def story() -> None:
        async with rig.control() as control:
            await rig.run(control, request_far)
            rig.secrets.delete("token")
            control.wake("far")
            workload = await rig.becomes(control, "far", Status.ERROR)
            assert "token" in workload.reason
            await rig.until(lambda: not rig.gateway.values["far"])
            rig.secrets.set("token", "v4lue")
            await control.start("far")
            await rig.becomes(control, "far", Status.RUNNING)
            assert rig.gateway.values["far"]["token"] == "v4lue"

    asyncio.run(story())


def test_a_store_that_fails_for_a_while_takes_nothing_away(
    rig: Any, request_far: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with rig.control() as control:
            await rig.run(control, request_far)

            def fails(name: str) -> str:
                raise SecretStoreFailed("the store is locked")

            monkeypatch.setattr(rig.secrets, "get", fails)
            control.wake("far")
            await rig.until(lambda: "the headers of far stay as they are: the store is locked" in caplog.text)
            assert control.ground.store.get("far").status is Status.RUNNING
            assert rig.gateway.values["far"]["token"] == "v4lue"

    asyncio.run(story())


def test_a_value_of_a_shell_that_is_lost_leaves_it_in_error(rig: Any, request_far: Any) -> None:
    async def story() -> None:
        async with rig.control() as control:
            await rig.run(control, request_far)
        rig.shell.forget("far")
        async with rig.control() as control:
            workload = await rig.becomes(control, "far", Status.ERROR)
            assert workload.reason == "secret env:KEY came from a shell and is gone"

    asyncio.run(story())
