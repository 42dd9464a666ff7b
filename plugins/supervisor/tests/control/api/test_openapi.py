"""The description of the API, and the page that shows it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from litestar.types import ASGIApp

from thv_supervisor.control.reconciler import Reconciler

TOOLHIVE = [
    "GET /api/v1beta/groups",
    "POST /api/v1beta/groups",
    "DELETE /api/v1beta/groups/{name}",
    "GET /api/v1beta/groups/{name}",
    "GET /api/v1beta/version",
    "GET /api/v1beta/workloads",
    "POST /api/v1beta/workloads",
    "POST /api/v1beta/workloads/delete",
    "POST /api/v1beta/workloads/restart",
    "POST /api/v1beta/workloads/stop",
    "DELETE /api/v1beta/workloads/{name}",
    "GET /api/v1beta/workloads/{name}",
    "POST /api/v1beta/workloads/{name}/edit",
    "GET /api/v1beta/workloads/{name}/export",
    "GET /api/v1beta/workloads/{name}/logs",
    "GET /api/v1beta/workloads/{name}/proxy-logs",
    "POST /api/v1beta/workloads/{name}/restart",
    "GET /api/v1beta/workloads/{name}/status",
    "POST /api/v1beta/workloads/{name}/stop",
    "GET /health",
]
"""The operations of ToolHive's families workloads, groups, health and version, but for upgrades."""

OURS = [
    "POST /api/v1beta/runs",
    "DELETE /api/v1beta/runs/{request_id}",
    "GET /api/v1beta/events",
    "PATCH /api/v1beta/groups/{name}",
    "POST /api/v1beta/groups/{name}/workloads",
    "POST /api/v1beta/logs/prune",
    "POST /api/v1beta/listeners",
    "POST /api/v1beta/shutdown",
    "GET /api/v1beta/egress",
    "GET /api/v1beta/egress/report",
    "GET /api/v1beta/cache",
    "DELETE /api/v1beta/cache",
    "GET /api/openapi.json",
    "GET /api/doc",
]


def test_every_operation_is_described_whole(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        description = (await asked(app, "GET", "/api/openapi.json")).json()
        paths = description["paths"].items()
        found = {f"{verb.upper()} {path}": each for path, verbs in paths for verb, each in verbs.items()}
        assert set(found) == {*TOOLHIVE, *OURS}
        assert len({each["operationId"] for each in found.values()}) == len(found)
        tags = {each["name"] for each in description["tags"]}
        for name, each in found.items():
            assert len(each["summary"].split()) > 1, name
            assert set(each["tags"]) <= tags
            assert {"401", "403", "500", "503"} < set(each["responses"]), name
            assert "404" in each["responses"] or "{name}" not in name, name
        references = set(re.findall(r"#/components/schemas/(\w+)", str(description)))
        assert references == set(description["components"]["schemas"]), "described and never used, or the other way"

    play(story)


def test_the_page_needs_no_other_host_and_shows_the_description_itself(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        page = (await asked(app, "GET", "/api/doc")).body.decode()
        assert re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", page) == ["/api/openapi.json"]
        assert "http://" not in page
        assert "https://" not in page
        assert '"openapi":"3.1.0"' in page
        assert "__DESCRIPTION__" not in page

    play(story)


@pytest.mark.parametrize("path", ["/api/v1beta/workloads/upgrade-check", "/api/v1beta/clients", "/api/v1beta/registry"])
def test_families_that_are_to_come_are_not_there(play: Any, asked: Any, path: str) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        assert (await asked(app, "GET", path)).status == 404

    play(story)
