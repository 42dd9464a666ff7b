"""``thv serve``: what its flags and its environment ask for."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from thv_core.errors import InvalidRequest
from thv_supervisor import serving
from thv_supervisor.commands.serve import serve


class FakeServing:
    """Remembers what it was to serve."""

    def __init__(self) -> None:
        self.served: list[dict[str, Any]] = []
        self.stopped = 0

    def serve(self, listener: dict[str, Any]) -> None:
        self.served.append(listener)

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeServing:
    fake = FakeServing()
    monkeypatch.setattr(serving, "Serving", lambda console: fake)
    return fake


def run(console: Any, *arguments: str) -> Any:
    return CliRunner().invoke(serve, list(arguments), obj=console)


USUAL = {"host": "127.0.0.1", "port": 8080, "socket": "", "auth": "token", "openapi": False}


@pytest.mark.parametrize(
    ("arguments", "said", "asked"),
    [
        ([], None, {}),
        (["--port", "0", "--openapi"], None, {"port": 0, "openapi": True}),
        (["--host", "::1"], None, {"host": "::1"}),
        (["--no-auth"], None, {"auth": "none"}),
        ([], "none", {"auth": "none"}),
        ([], "token", {}),
        ([], "", {}),
        (["--no-auth"], "token", {"auth": "none"}),
    ],
)
def test_a_listener_is_asked_for(
    console: Any, fake: FakeServing, arguments: list[str], said: str | None, asked: dict[str, Any]
) -> None:
    if said is not None:
        console.environment["THV_API_AUTH"] = said
    assert run(console, *arguments).exit_code == 0
    assert (fake.served, fake.stopped) == ([USUAL | asked], 0)


def test_a_socket_lies_where_the_caller_is(console: Any, fake: FakeServing) -> None:
    assert run(console, "--socket", "api.sock").exit_code == 0
    assert fake.served[0]["socket"] == str(console.directory / "api.sock")


def test_an_environment_that_says_neither_is_refused(console: Any, fake: FakeServing) -> None:
    console.environment["THV_API_AUTH"] = "off"
    done = run(console)
    assert isinstance(done.exception, InvalidRequest)
    assert fake.served == []


def test_a_stop_serves_nothing(console: Any, fake: FakeServing) -> None:
    assert run(console, "--stop").exit_code == 0
    assert (fake.served, fake.stopped) == ([], 1)


def test_a_port_that_is_none_is_refused(console: Any, fake: FakeServing) -> None:
    assert run(console, "--port", "70000").exit_code == 2
    assert fake.served == []
