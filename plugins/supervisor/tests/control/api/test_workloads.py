"""ToolHive's operations on workloads: lists, what one is, and the bulk ones."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from litestar.types import ASGIApp

from thv_core.errors import SecretNotFound
from thv_core.model.group import Group
from thv_core.model.status import Status
from thv_supervisor.control.reconciler import Reconciler

ALL = "/api/v1beta/workloads"
ONE = f"{ALL}/echo"


async def three(rig: Any, control: Reconciler) -> None:
    """Run echo in its group, and two more."""
    control.ground.store.add_group(Group(name="team"))
    await rig.run(control, rig.request(group="team", labels={"tier": "one", "owner": "ann"}))
    await rig.run(control, rig.request(request_id="two", name="b", group="team", labels={"tier": "one"}))
    await rig.run(control, rig.request(request_id="three", name="c"))


def body(**given: Any) -> bytes:
    return json.dumps(given).encode()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["b", "c", "echo"]),
        ("?group=team", ["b", "echo"]),
        ("?group=default", ["c"]),
        ("?label=tier=one", ["b", "echo"]),
        ("?label=tier=one&label=owner=ann", ["echo"]),
        ("?label=tier=two", []),
        ("?label=tier=one&group=default", []),
        ("?unheard=of", ["b", "c", "echo"]),
    ],
)
def test_a_list_is_of_a_group_and_of_whoever_has_every_label(
    play: Any, asked: Any, rig: Any, query: str, names: list[str]
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await three(rig, control)
        assert [view["name"] for view in (await asked(app, "GET", f"{ALL}{query}")).json()["workloads"]] == names

    play(story)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("group=taem", 404, "'taem' does not exist"),
        ("label=tier", 400, "not KEY=VALUE"),
        ("all=maybe", 400, "all=maybe"),
    ],
)
def test_a_list_of_what_cannot_be_is_refused(
    play: Any, asked: Any, rig: Any, query: str, status: int, words: str
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "GET", f"{ALL}?{query}")
        assert reply.status == status
        assert words in reply.json()["message"]

    play(story)


def test_a_workload_is_told_in_the_shape_in_which_it_is_created(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control, rig.request(env_vars={"A": "1"}, cmd_args=("-v",)))
        told = (await asked(app, "GET", ONE)).json()
        assert (told["name"], told["image"], told["group"]) == ("echo", "fake://echo@1.1.0", "default")
        assert (told["env_vars"], told["cmd_arguments"], told["secrets"]) == ({"A": "1"}, ["-v"], [])
        assert (told["transport"], told["proxy_mode"]) == ("stdio", "streamable-http")
        assert told["proxy_port"] == control.view("echo").port
        assert (told["network_isolation"], told["oidc"], told["tools"], told["url"]) == (True, None, None, "")
        await asked(app, "DELETE", f"{ONE}?wait=true")
        assert (await asked(app, "POST", ALL, json.dumps(told).encode())).json() == {
            "name": "echo",
            "port": told["proxy_port"],
        }
        await rig.becomes(control, "echo", Status.RUNNING)
        assert (await asked(app, "GET", ONE)).json() == told

    play(story)


def test_a_stop_and_a_removal_are_answered_at_once_or_when_they_are_done(play: Any, asked: Any, rig: Any) -> None:
    stop, let_go = rig.runtime.stop, threading.Event()

    def slowly(deployment: Any, grace: float) -> None:
        assert let_go.wait(10.0)
        stop(deployment, grace)

    rig.runtime.stop = slowly

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        assert (await asked(app, "POST", f"{ONE}/stop")).status == 202
        assert control.ground.store.get("echo").status is Status.STOPPING
        stopping = asyncio.create_task(asked(app, "POST", f"{ONE}/stop?wait=true&timeout=0"))
        done, _ = await asyncio.wait([stopping], timeout=0.1)
        assert done == set()
        let_go.set()
        assert (await asyncio.wait_for(stopping, 10.0)).status == 202
        assert control.ground.store.get("echo").status is Status.STOPPED
        assert (await asked(app, "DELETE", ONE)).status == 202
        await rig.gone(control, "echo")

    play(story)


def test_a_restart_that_is_waited_for_is_answered_when_it_is_ready(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        reply = await asyncio.wait_for(asked(app, "POST", f"{ONE}/restart?wait=true"), 10.0)
        assert (reply.status, reply.body) == (202, b"")
        assert len(rig.runtime.lives) == 2
        assert control.ground.store.get("echo").status is Status.RUNNING

    play(story)


def test_a_restart_is_answered_at_once_for_whoever_accepts_no_lines(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        reply = await asked(app, "POST", f"{ONE}/restart", headers={"accept": "application/json"})
        assert (reply.status, reply.body) == (202, b"")
        await rig.until(lambda: len(rig.runtime.lives) == 2)
        await rig.becomes(control, "echo", Status.RUNNING)

    play(story)


@pytest.mark.parametrize("name", ["stop", "restart", "delete"])
def test_a_workload_may_be_named_like_a_bulk_operation(play: Any, asked: Any, rig: Any, name: str) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control, rig.request(name=name))
        assert (await asked(app, "GET", f"{ALL}/{name}")).json()["name"] == name
        assert (await asked(app, "GET", f"{ALL}/{name}/status")).json()["name"] == name
        assert (await asked(app, "POST", f"{ALL}/{name}/stop?wait=true&timeout=0")).status == 202
        assert (await asked(app, "DELETE", f"{ALL}/{name}?wait=true")).status == 202
        assert control.views() == []

    play(story)


# Bulk ----------------------------------------------------------------------------------------------------------------


def test_a_group_or_names_are_stopped_started_and_removed_together(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await three(rig, control)
        reply = await asked(app, "POST", f"{ALL}/stop", body(group="team"))
        assert (reply.status, reply.body) == (202, b"")
        for name in ("echo", "b"):
            await rig.becomes(control, name, Status.STOPPED)
        assert control.view("c").status is Status.RUNNING
        assert (await asked(app, "POST", f"{ALL}/restart", body(names=["b", "c"]))).status == 202
        await rig.until(lambda: [control.view(name).status for name in ("b", "c")] == [Status.RUNNING] * 2)
        assert control.view("echo").status is Status.STOPPED
        assert (await asked(app, "POST", f"{ALL}/delete", body(names=["echo", "b", "b"]))).status == 202
        await rig.until(lambda: control.ground.store.names() == ["c"])

    play(story)


@pytest.mark.parametrize("verb", ["stop", "restart", "delete"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "either names or group"),
        ({"names": [], "group": ""}, "either names or group"),
        ({"names": ["echo"], "group": "default"}, "either names or group"),
        ({"names": ["echo", "x"]}, "no workloads of these names"),
        ({"group": "nobody"}, "'nobody' does not exist"),
        ({"nmaes": ["echo"]}, "nmaes is not a known key"),
    ],
)
def test_a_bulk_operation_that_cannot_be_meant_does_nothing(
    play: Any, asked: Any, rig: Any, verb: str, given: dict[str, Any], words: str
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        reply = await asked(app, "POST", f"{ALL}/{verb}", body(**given))
        assert reply.status == 400
        assert words in reply.json()["message"]
        assert control.view("echo").status is Status.RUNNING

    play(story)


def test_one_that_fails_keeps_no_other_from_its_turn(play: Any, asked: Any, rig: Any, monkeypatch: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await three(rig, control)
        start = control.start

        async def picky(name: str) -> Any:
            if name == "b":
                raise SecretNotFound("there is no secret s")
            return await start(name)

        monkeypatch.setattr(control, "start", picky)
        reply = await asked(app, "POST", f"{ALL}/restart", body(names=["b", "c", "echo"]))
        assert (reply.status, reply.json()["message"]) == (400, "1 of 3 failed")
        assert reply.json()["evidence"] == ["b: there is no secret s"]
        await rig.until(lambda: len(rig.runtime.lives) == 5)

    play(story)
