"""``thv serve``: the listener that lives as long as the command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from thv_core.errors import PortUnavailable, TimedOut
from thv_supervisor import serving as serving_module
from thv_supervisor.serving import Serving

LISTENER = {"host": "127.0.0.1", "port": 8080, "socket": "", "auth": "token", "openapi": False}
URL = "http://127.0.0.1:8080"


def listening(url: str = URL, token_file: str = "/state/api.token") -> dict[str, Any]:
    return {"listening": {"url": url, "token_file": token_file}}


ENDED = {"ended": "the processes of thv were told to end"}


class ScriptedClient:
    """A control that grants one lease after the other; each is the documents that it tells, or an error."""

    def __init__(self) -> None:
        self.leases: list[list[Any]] = []
        self.asked: list[tuple[str, dict[str, Any], bool]] = []

    def lease(self, path: str, body: dict[str, Any], limit: float, judged: bool) -> Iterator[dict[str, Any]]:
        self.asked.append((path, dict(body), judged))
        for document in self.leases.pop(0):
            if isinstance(document, Exception):
                raise document
            if isinstance(document, int):
                signal.raise_signal(document)
            else:
                yield document


class Processes:
    """Whether the processes run, and how often they were ended."""

    def __init__(self) -> None:
        self.running = True
        self.ended = 0

    def end(self, client: object, paths: object) -> None:
        self.running = False
        self.ended += 1


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    processes = Processes()
    monkeypatch.setattr(serving_module, "is_supervised", lambda paths: processes.running)
    monkeypatch.setattr(serving_module, "end_processes", processes.end)
    monkeypatch.setattr(serving_module, "PAUSE", 0.0)
    return processes


@pytest.fixture
def serving(console: Any, client: ScriptedClient, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> Serving:
    monkeypatch.setattr(serving_module, "ControlClient", lambda environment, message: client)
    return Serving(console)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_the_listener_and_leaves_the_processes_that_ran_already(
    serving: Serving, client: ScriptedClient, console: Any, processes: Processes, number: int
) -> None:
    former = signal.getsignal(number)
    client.leases = [[listening(), {}, int(number)]]
    serving.serve(LISTENER)
    assert console.lines == [URL]
    assert console.messages == [
        "the token of the API is in /state/api.token",
        "end with Ctrl-C",
        "the listener is closed",
    ]
    assert client.asked == [("/api/v1beta/listeners", LISTENER, True)]
    assert (processes.ended, signal.getsignal(number)) == (0, former)


def test_processes_that_the_command_started_end_with_it(
    serving: Serving, client: ScriptedClient, processes: Processes
) -> None:
    processes.running = False

    def started() -> Iterator[dict[str, Any]]:
        processes.running = True
        yield listening()
        signal.raise_signal(signal.SIGTERM)

    client.lease = lambda *asked, judged: started()
    serving.serve(LISTENER)
    assert processes.ended == 1


def test_a_control_that_is_replaced_is_asked_for_the_same_again_and_is_not_judged(
    serving: Serving, client: ScriptedClient, console: Any
) -> None:
    client.leases = [[listening("http://127.0.0.1:40001")], [], [listening("http://127.0.0.1:40001"), ENDED]]
    serving.serve(LISTENER | {"port": 0})
    assert [(body["port"], judged) for _, body, judged in client.asked] == [(0, True), (40001, False), (40001, False)]
    assert console.lines == ["http://127.0.0.1:40001"]
    assert console.messages[-1] == "the processes of thv were told to end: the listener is closed"


def test_processes_that_somebody_ends_are_not_started_again_to_end_them(
    serving: Serving, client: ScriptedClient, processes: Processes
) -> None:
    processes.running = False

    def started() -> Iterator[dict[str, Any]]:
        processes.running = True
        yield listening()
        yield ENDED

    client.lease = lambda *asked, judged: started()
    serving.serve(LISTENER)
    assert processes.ended == 0


def test_an_error_ends_the_command_and_the_processes_that_it_started(
    serving: Serving, client: ScriptedClient, processes: Processes
) -> None:
    processes.running = False

    def refused() -> Iterator[dict[str, Any]]:
        processes.running = True
        raise PortUnavailable("127.0.0.1:8080 is taken")
        yield {}

    client.lease = lambda *asked, judged: refused()
    with pytest.raises(PortUnavailable):
        serving.serve(LISTENER)
    assert processes.ended == 1


@pytest.mark.parametrize(
    ("listener", "documents", "warnings"),
    [
        ({}, listening(), 0),
        ({"auth": "none"}, listening(token_file=""), 1),
        ({"host": "192.0.2.7"}, listening("http://192.0.2.7:8080"), 1),
        ({"host": "::1"}, listening("http://[::1]:8080"), 0),
        ({"socket": "/x"}, listening("unix:///x", token_file=""), 0),
    ],
)
def test_what_is_open_to_others_is_said_loudly(
    serving: Serving,
    client: ScriptedClient,
    console: Any,
    listener: dict[str, Any],
    documents: dict[str, Any],
    warnings: int,
) -> None:
    client.leases = [[documents, ENDED]]
    serving.serve(LISTENER | listener)
    assert len([each for each in console.messages if each.startswith("WARNING: ")]) == warnings


def test_where_the_description_is_is_said(serving: Serving, client: ScriptedClient, console: Any) -> None:
    client.leases = [[listening(), ENDED]]
    serving.serve(LISTENER | {"openapi": True})
    assert f"the description of the API is at {URL}/api/doc" in console.messages


def test_processes_are_ended_when_that_is_asked(serving: Serving, console: Any, processes: Processes) -> None:
    serving.stop()
    serving.stop()
    assert processes.ended == 1
    assert console.messages == [
        "the processes of thv have ended; servers live on and are found again",
        "the processes of thv do not run",
    ]


def test_processes_that_do_not_end_are_said_to(
    serving: Serving, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(client: object, paths: object) -> None:
        raise TimedOut("they did not end")

    monkeypatch.setattr(serving_module, "end_processes", never)
    with pytest.raises(TimedOut):
        serving.stop()
