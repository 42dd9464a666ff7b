"""The conformance suites of MCP: directly, through the gateway, and through it where client and server differ in era.

What nobody can do across eras is in ``conformance_impossible.toml``, each with the sentence of the specification that
says so; ``conformance_minimum.toml`` has how many checks must succeed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from harness.conformance import LEGACY, MODERN, SUITES, Findings, examine
from harness.dual_era.running import HttpFixture, through_gateway

HERE = Path(__file__).parent

SERVERS = {
    ("dual", "streamable-http"): (*LEGACY, *MODERN),
    ("legacy", "streamable-http"): MODERN,
    ("modern", "streamable-http"): LEGACY,
    ("legacy", "sse"): (*LEGACY, *MODERN),
    ("legacy", "stdio"): (*LEGACY, *MODERN),
    ("modern", "stdio"): (*LEGACY, *MODERN),
}
ALIKE = ("dual", "streamable-http")
PAIRS = [(server, suite) for server, suites in SERVERS.items() for suite in suites]

Found = Callable[[tuple[str, str], str], Findings]


def named(value: object) -> str:
    return "-".join(value) if isinstance(value, tuple) else str(value)


@pytest.fixture(scope="module")
def directly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Findings]]:
    """What a suite finds in the fixture itself."""
    folder = tmp_path_factory.mktemp("direct")
    server = HttpFixture(folder, "dual")

    @cache
    def found(suite: str) -> Findings:
        return examine(server.url, SUITES[suite], folder / suite)

    yield found
    server.stop()


@pytest.fixture(scope="module")
def through(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """What a suite finds in the fixture, held to an era and a transport, through the gateway."""
    era, transport = request.param
    folder = tmp_path_factory.mktemp("through")
    with through_gateway(folder / "served", era, transport) as url:
        yield lambda suite: examine(url, SUITES[suite], folder / suite)


def said(found: Findings, scenarios: object) -> str:
    return "\n".join(f"{name}: {'; '.join(found.said.get(name, ()))}" for name in scenarios)


def impossible(server: tuple[str, str], suite: str) -> set[str]:
    """Return the scenarios that nobody can pass before such a server."""
    lines = tomllib.loads((HERE / "conformance_impossible.toml").read_text())["impossible"]
    return {line["scenario"] for line in lines if "-".join(server) in line["servers"] and suite in line["suites"]}


def minimum(server: tuple[str, str], suite: str) -> int:
    """Return how many checks must succeed."""
    return int(tomllib.loads((HERE / "conformance_minimum.toml").read_text())["-".join(server)][suite])


@pytest.mark.parametrize("suite", SUITES)
def test_the_fixture_passes_every_scenario_that_is_scored(directly: Callable[[str], Findings], suite: str) -> None:
    found = directly(suite)
    failed = {name for name, checks in found.scenarios.items() if any(status == "FAILURE" for _, status in checks)}
    # Extensions of the protocol, which are not scored: nothing of ours has tasks.
    assert not {name for name in failed if not name.startswith("tasks-")}, said(found, failed)
    assert found.count("SUCCESS") >= minimum(ALIKE, suite)


@pytest.mark.parametrize(("through", "suite"), [(ALIKE, suite) for suite in SUITES], indirect=["through"], ids=named)
def test_the_gateway_scores_exactly_what_the_server_scores(
    directly: Callable[[str], Findings], through: Callable[[str], Findings], suite: str
) -> None:
    found, expected = through(suite), directly(suite)
    assert found.judged() == expected.judged(), said(found, found.lacking(expected))


@pytest.mark.parametrize(
    ("through", "server", "suite"),
    [(server, server, suite) for server, suite in PAIRS if server != ALIKE],
    indirect=["through"],
    ids=named,
)
def test_clients_of_an_era_are_served_by_servers_of_another_transport_or_era(
    directly: Callable[[str], Findings], through: Callable[[str], Findings], server: tuple[str, str], suite: str
) -> None:
    found = through(suite)
    lacking = found.lacking(directly(suite))
    possible = set(lacking) - impossible(server, suite)
    assert not possible, said(found, possible)
    assert impossible(server, suite) <= set(lacking), "these are possible after all"
    assert found.count("SUCCESS") >= minimum(server, suite)
