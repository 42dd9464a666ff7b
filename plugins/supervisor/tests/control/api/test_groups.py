"""The operations on groups."""

from __future__ import annotations

import json
from typing import Any

import pytest
from litestar.types import ASGIApp

from thv_supervisor.control.reconciler import Reconciler

GROUPS = "/api/v1beta/groups"


def body(**given: Any) -> bytes:
    return json.dumps(given).encode()


def test_a_group_is_made_listed_renamed_filled_and_removed(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        reply = await asked(app, "POST", GROUPS, body(name="team"))
        assert (reply.status, reply.json()) == (201, {"name": "team"})
        assert (await asked(app, "PATCH", f"{GROUPS}/team", body(name="my team"))).status == 204
        assert (await asked(app, "POST", f"{GROUPS}/my%20team/workloads", body(names=["echo"]))).status == 204
        listed = (await asked(app, "GET", GROUPS)).json()
        assert listed == {
            "groups": [
                {"name": "default", "registered_clients": [], "workloads": []},
                {"name": "my team", "registered_clients": [], "workloads": ["echo"]},
            ]
        }
        assert (await asked(app, "GET", f"{GROUPS}/my%20team")).json() == listed["groups"][1]
        assert (await asked(app, "DELETE", f"{GROUPS}/my%20team")).status == 204
        assert (await asked(app, "GET", f"{GROUPS}/default")).json()["workloads"] == ["echo"]

    play(story)


def test_a_group_is_removed_with_its_workloads_when_that_is_asked(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await asked(app, "POST", GROUPS, body(name="team"))
        await rig.run(control, rig.request(group="team"))
        assert (await asked(app, "DELETE", f"{GROUPS}/team?with-workloads=true")).status == 204
        assert control.views() == []

    play(story)


@pytest.mark.parametrize(
    ("method", "path", "given", "status"),
    [
        ("GET", f"{GROUPS}/nobody", None, 404),
        ("DELETE", f"{GROUPS}/nobody", None, 404),
        ("DELETE", f"{GROUPS}/default", None, 400),
        ("DELETE", f"{GROUPS}/team?with-workloads=perhaps", None, 400),
        ("PATCH", f"{GROUPS}/nobody", {"name": "x"}, 404),
        ("PATCH", f"{GROUPS}/team", {"name": "default"}, 409),
        ("PATCH", f"{GROUPS}/team", {"name": "X!"}, 400),
        ("POST", GROUPS, {"name": "team"}, 409),
        ("POST", GROUPS, {"name": "X!"}, 400),
        ("POST", GROUPS, {}, 400),
        ("POST", f"{GROUPS}/nobody/workloads", {"names": ["echo"]}, 404),
        ("POST", f"{GROUPS}/team/workloads", {"names": ["nobody"]}, 404),
    ],
)
def test_what_cannot_be_is_refused(
    play: Any, asked: Any, rig: Any, method: str, path: str, given: Any, status: int
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await asked(app, "POST", GROUPS, body(name="team"))
        reply = await asked(app, method, path, b"" if given is None else body(**given))
        assert reply.status == status, reply.body
        assert reply.json()["message"]

    play(story)
