"""What ``thv proxy`` takes its words for."""

from __future__ import annotations

from typing import Any

import pytest

from thv_core.errors import InvalidRequest, NotFound, Unavailable
from thv_supervisor.commands.proxy import proxy

STATUS = "/api/v1beta/workloads/time/status"
URL = "https://far.example/mcp"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("far",), "by --target-uri"),
        (("--target-uri", URL), "give the server a name"),
        (("far", "near", "--target-uri", URL), "there is one more word: 'near'"),
        (("far", "--target-uri", URL, "--oidc-issuer", "x"), "No such option"),
        (("far", "--target-uri", URL, "--port", "65536"), "65536"),
        (("tunnel", "far", "name"), "there is one more word: 'far'"),
        (("stdio",), "Missing argument"),
        (("stdio", "time", "--target-uri", URL), "No such option"),
    ],
)
def test_words_that_cannot_be_meant_are_refused(invoke: Any, words: tuple[str, ...], reason: str) -> None:
    result = invoke(proxy, *words)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())


def test_a_misspelt_command_gets_the_nearest(invoke: Any) -> None:
    with pytest.raises(InvalidRequest, match="there is no command 'stdo'") as refused:
        invoke(proxy, "stdo", "a")
    assert refused.value.hint == "Did you mean  thv proxy stdio a?"


@pytest.mark.parametrize("words", [("far", "--target-uri", URL), ("--target-uri", URL, "far")])
def test_options_stand_on_either_side_of_the_name(invoke: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest, match=r"host '0\.0\.0\.0' is not a loopback address"):
        invoke(proxy, *words, "--host", "0.0.0.0")


def test_help_tells_of_both_ways(invoke: Any) -> None:
    text = invoke(proxy).output
    assert "--target-uri" in text
    assert "stdio" in text


@pytest.mark.parametrize("status", ["stopped", "error", "stopping"])
def test_a_workload_that_does_not_run_is_not_bridged(invoke: Any, control: Any, status: str) -> None:
    control.answers["GET", STATUS] = {"status": status, "url": "http://127.0.0.1:1/mcp"}
    with pytest.raises(Unavailable, match=f"^time is {status}") as refused:
        invoke(proxy, "stdio", "time", input="")
    assert refused.value.hint == "thv start time"


def test_a_workload_that_does_not_exist_is_not_bridged(invoke: Any, control: Any) -> None:
    control.answers["GET", STATUS] = NotFound("workload 'time' does not exist")
    with pytest.raises(NotFound):
        invoke(proxy, "stdio", "time", input="")


@pytest.mark.parametrize("status", ["running", "unhealthy"])
def test_a_bridge_ends_with_its_input_and_says_nothing(invoke: Any, control: Any, status: str) -> None:
    control.answers["GET", STATUS] = {"status": status, "url": "http://127.0.0.1:1/mcp"}
    result = invoke(proxy, "stdio", "time", input="")
    assert (result.exit_code, result.output) == (0, "")


def test_a_workload_that_is_starting_is_awaited(invoke: Any, control: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from thv_supervisor import workload_urls

    statuses = iter(["starting", "starting", "running"])
    monkeypatch.setattr(workload_urls, "_PAUSE", 0.0)
    monkeypatch.setattr(control, "call", lambda *_: {"status": next(statuses), "url": "http://127.0.0.1:1/mcp"})
    assert invoke(proxy, "stdio", "time", input="").exit_code == 0
    assert next(statuses, None) is None
