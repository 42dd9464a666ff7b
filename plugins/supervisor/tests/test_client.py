"""The client of control, against a control socket that the test serves."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import AlreadyExists, NotFound, NotReady, SettingsError, StartFailed, ThvError, Unavailable
from thv_core.state.files import bind_unix
from thv_core.state.paths import Paths
from thv_supervisor import client as client_module
from thv_supervisor.client import ControlClient
from thv_supervisor.installations import installation

WITHIN = 20.0
Answer = Callable[[socket.socket], None]


def reply(status: int, body: object = None, notice: str = "") -> Answer:
    """Answer with a document."""
    text = b"" if body is None else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(text)}", *([f"x-thv-notice: {notice}"] if notice else [])]
    return lambda connection: connection.sendall("\r\n".join([*head, "", ""]).encode() + text)


def refusal(error: ThvError, status: int = 500) -> Answer:
    return reply(status, error.document())


def story(*documents: object, end: bool = True) -> Answer:
    """Stream documents as lines, and end the stream well or cut it."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 201 X\r\ntransfer-encoding: chunked\r\n\r\n")
        for document in documents:
            line = json.dumps(document).encode() + b"\n"
            connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
        if end:
            connection.sendall(b"0\r\n\r\n")

    return answer


def cut(connection: socket.socket) -> None:
    """Say nothing."""


def half(connection: socket.socket) -> None:
    """Begin an answer."""
    connection.sendall(b'HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{"a": ')


class ScriptedControl:
    """Serves one answer for each connection, in order; the last one for all that follow."""

    def __init__(self, paths: Paths) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[Answer] = []
        self._listener = bind_unix(paths.control_socket)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def will(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def close(self) -> None:
        # Closing alone does not wake a thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(WITHIN)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                connection.settimeout(WITHIN)
                self._take(stream)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                # A client that has heard enough hangs up.
                with contextlib.suppress(ConnectionError):
                    answer(connection)

    def _take(self, stream: Any) -> None:
        method, path, _ = stream.readline().decode().split()
        headers: dict[str, str] = {}
        while line := stream.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        self.requests.append((method, path, headers, stream.read(int(headers.get("content-length", 0)))))


@pytest.fixture
def control(paths: Paths) -> Iterator[ScriptedControl]:
    scripted = ScriptedControl(paths)
    yield scripted
    scripted.close()


@pytest.fixture(autouse=True)
def launches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Paths, bool]]:
    """Nothing is started; what would have been, and whether with insistence, is remembered."""
    launched: list[tuple[Paths, bool]] = []
    monkeypatch.setattr(client_module, "launch", lambda asked, insist, message: launched.append((asked, insist)))
    return launched


@pytest.fixture
def launching(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Say what the control that a launch starts will answer."""
    started: list[ScriptedControl] = []

    def will(*answers: Answer) -> None:
        def launch(asked: Paths, insist: bool, message: object) -> None:
            assert asked == paths
            if not started:
                started.append(ScriptedControl(paths))
                started[-1].will(*answers)

        monkeypatch.setattr(client_module, "launch", launch)

    yield will
    for each in started:
        each.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long."""
    monkeypatch.setattr(client_module, "PATIENCE", 0.6)
    monkeypatch.setattr(client_module, "INSISTENCE", 0.2)
    monkeypatch.setattr(client_module, "BRISK", 0.05)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def client(environment: dict[str, str], said: list[str]) -> ControlClient:
    return ControlClient(environment, said.append)


def test_a_call_names_its_installation_and_returns_what_was_answered(
    client: ControlClient, control: ScriptedControl, launches: list[Any]
) -> None:
    control.will(reply(200, {"a": 1}))
    assert client.call("POST", "/x?y=1") == {"a": 1}
    ((method, path, headers, body),) = control.requests
    assert (method, path, body) == ("POST", "/x?y=1", b"")
    assert headers["x-thv-installation"] == installation().header()
    assert launches == []


def test_an_empty_answer_is_nothing(client: ControlClient, control: ScriptedControl) -> None:
    control.will(reply(202))
    assert client.call("DELETE", "/x") is None


def test_a_control_that_is_replaced_is_asked_again_and_said_once(
    client: ControlClient, control: ScriptedControl, said: list[str]
) -> None:
    moment = refusal(NotReady("the installed plugins changed: control starts again"), 503)
    control.will(moment, moment, moment, reply(200, 5))
    assert client.call("GET", "/x") == 5
    assert said == ["the installed plugins changed: control starts again"]
    assert len(control.requests) == 4


def test_a_refusal_is_the_error_that_it_was(client: ControlClient, control: ScriptedControl) -> None:
    control.will(refusal(AlreadyExists("there is one", evidence=["line"], hint="do"), 409))
    with pytest.raises(AlreadyExists) as refused:
        client.call("GET", "/x")
    assert (refused.value.message, refused.value.evidence, refused.value.hint) == ("there is one", ("line",), "do")


@pytest.mark.parametrize("body", ["words", [], 5])
def test_a_refusal_that_is_no_error_of_ours_is_still_one(
    client: ControlClient, control: ScriptedControl, body: object
) -> None:
    control.will(reply(418, body))
    with pytest.raises(ThvError, match="control answered 418"):
        client.call("GET", "/x")


def test_a_notice_is_said_once(client: ControlClient, control: ScriptedControl, said: list[str]) -> None:
    control.will(reply(200, 1, "an older thv"))
    assert [client.call("GET", "/x") for _ in range(3)] == [1, 1, 1]
    assert said == ["an older thv"]


def test_when_nobody_answers_the_processes_are_started_until_one_does(
    client: ControlClient, launching: Callable[..., None]
) -> None:
    launching(cut, reply(200, "late"))
    assert client.call("GET", "/x") == "late"


@pytest.mark.parametrize("begin", [cut, half])
def test_a_control_that_is_silent_is_given_up_after_the_limit_of_the_call(
    client: ControlClient, control: ScriptedControl, launches: list[Any], begin: Answer
) -> None:
    def until_the_caller_hangs_up(connection: socket.socket) -> None:
        begin(connection)
        connection.recv(1)

    control.will(until_the_caller_hangs_up)
    with pytest.raises(Unavailable, match=r"^control did not answer within 0\.2 s") as refused:
        client.call("POST", "/x", limit=0.2)
    assert refused.value.hint == "thv serve --stop"
    assert (len(control.requests), launches) == (1, [])


def test_a_removal_that_is_repeated_and_finds_nothing_has_succeeded(
    client: ControlClient, control: ScriptedControl
) -> None:
    control.will(cut, refusal(NotFound("no a"), 404))
    client.call("DELETE", "/a")
    assert [method for method, *_ in control.requests] == ["DELETE", "DELETE"]


def test_a_removal_of_what_there_never_was_is_refused(client: ControlClient, control: ScriptedControl) -> None:
    control.will(refusal(NotFound("no a"), 404))
    with pytest.raises(NotFound):
        client.call("DELETE", "/a")
    control.will(refusal(NotReady("again"), 503), refusal(NotFound("no a"), 404))
    with pytest.raises(NotFound):
        client.call("DELETE", "/a")


def test_a_removal_that_reached_nobody_at_first_is_no_repetition(
    client: ControlClient, launching: Callable[..., None]
) -> None:
    launching(refusal(NotFound("no a"), 404))
    with pytest.raises(NotFound):
        client.call("DELETE", "/a")


def test_anything_else_that_is_repeated_and_finds_nothing_is_refused(
    client: ControlClient, control: ScriptedControl
) -> None:
    control.will(cut, refusal(NotFound("no a"), 404))
    with pytest.raises(NotFound):
        client.call("POST", "/a/stop")


def test_unusable_settings_are_reported_and_nothing_is_started(
    client: ControlClient, paths: Paths, launches: list[Any]
) -> None:
    paths.config_file.write_text("runtim: x\n")
    with pytest.raises(SettingsError, match="runtim is not a known setting"):
        client.call("GET", "/x")
    assert launches == []


def test_a_control_that_never_answers_is_given_up_with_the_end_of_its_log(
    client: ControlClient, paths: Paths, launches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.3)
    paths.supervisor_log.write_bytes(b"\n".join(b"line %d \xff" % number for number in range(9)))
    with pytest.raises(Unavailable, match="control does not answer") as refused:
        client.call("GET", "/x")
    assert [line.split(" ")[1] for line in refused.value.evidence] == ["4", "5", "6", "7", "8"]
    assert str(paths.supervisor_log) in refused.value.hint
    assert set(launches) == {(paths, False)}


def test_a_caller_that_waits_for_long_insists_on_its_own_python(
    client: ControlClient, paths: Paths, launches: list[Any], hasty: None
) -> None:
    with pytest.raises(Unavailable, match="control does not answer"):
        client.call("GET", "/x")
    insisted = [insist for _, insist in launches]
    assert insisted == sorted(insisted)
    assert set(launches) == {(paths, False), (paths, True)}


def test_why_control_cannot_start_is_told_instead_of_waiting(
    client: ControlClient, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BRISK", 0.05)
    reason = SettingsError("no such plugin", evidence=["line"], hint="install it")

    def launch(asked: Paths, insist: bool, message: object) -> None:
        asked.control_error.write_text(json.dumps(reason.document()))

    monkeypatch.setattr(client_module, "launch", launch)
    with pytest.raises(SettingsError, match="no such plugin") as refused:
        client.call("GET", "/x")
    assert (refused.value.evidence, refused.value.hint) == (("line",), "install it")


@pytest.mark.parametrize(("age", "text"), [(60, json.dumps(ThvError("old").document())), (0, "{"), (0, "\x00\xff")])
def test_an_older_or_damaged_reason_is_not_told(
    client: ControlClient, paths: Paths, hasty: None, age: float, text: str
) -> None:
    paths.control_error.write_text(text)
    # Ahead of the clock: new even for a caller that begins later.
    instant = time.time() + 30 if age == 0 else time.time() - age
    os.utime(paths.control_error, (instant, instant))
    with pytest.raises(Unavailable, match="control does not answer"):
        client.call("GET", "/x")


def test_a_reason_is_not_told_when_control_answers_soon(
    client: ControlClient, paths: Paths, launching: Callable[..., None]
) -> None:
    paths.control_error.write_text(json.dumps(ThvError("no").document()))
    os.utime(paths.control_error, (time.time() + 30,) * 2)
    launching(reply(200, 1))
    assert client.call("GET", "/x") == 1


def test_a_call_whose_answer_is_cut_is_not_repeated(client: ControlClient, control: ScriptedControl) -> None:
    control.will(half)
    with pytest.raises(Unavailable, match="before its answer was complete"):
        client.call("POST", "/x")
    assert len(control.requests) == 1


def test_a_streamed_text_arrives_in_pieces(client: ControlClient, control: ScriptedControl) -> None:
    control.will(story("a", "b"))
    assert b"".join(client.chunks("/x")) == b'"a"\n"b"\n'
    control.will(story("a", end=False))
    with pytest.raises(Unavailable, match="before its answer was complete"):
        list(client.chunks("/x"))


def test_a_story_ends_when_it_is_ready(client: ControlClient, control: ScriptedControl) -> None:
    control.will(story({"progress": 1}, {"ready": 2}, {"progress": 3}))
    assert list(client.story("POST", "/x", {"b": "ü"})) == [{"progress": 1}, {"ready": 2}]
    ((method, path, headers, body),) = control.requests
    assert (method, path, json.loads(body)) == ("POST", "/x", {"b": "ü"})
    assert (headers["content-type"], headers["x-thv-installation"]) == ("application/json", installation().header())


def test_a_story_that_ends_badly_is_the_error_that_ended_it(client: ControlClient, control: ScriptedControl) -> None:
    control.will(story({"progress": 1}, {"error": StartFailed("no", evidence=["line"]).document()}))
    heard: list[object] = []
    with pytest.raises(StartFailed, match="no") as failed:
        heard.extend(client.story("POST", "/x", {}))
    assert failed.value.evidence == ("line",)


def test_a_story_that_is_cut_is_asked_for_again_with_the_same_request(
    client: ControlClient, control: ScriptedControl
) -> None:
    control.will(cut, story({"progress": 1}, end=False), story(end=False), story(), half, story({"ready": 2}))
    assert list(client.story("POST", "/x", {"request_id": "one"})) == [{"progress": 1}, {"ready": 2}]
    assert {(method, path, body) for method, path, _, body in control.requests} == {
        ("POST", "/x", b'{"request_id": "one"}')
    }
    assert len(control.requests) == 6


def test_a_story_that_is_refused_is_not_asked_for_again(client: ControlClient, control: ScriptedControl) -> None:
    control.will(refusal(AlreadyExists("there is one"), 409))
    with pytest.raises(AlreadyExists):
        list(client.story("POST", "/x", {}))
    assert len(control.requests) == 1


def test_a_story_without_an_end_is_given_up(
    client: ControlClient, control: ScriptedControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 0.3)
    control.will(story())
    with pytest.raises(Unavailable, match="before it tells how it went"):
        list(client.story("POST", "/x", {}))


def test_a_long_home_is_no_obstacle(environment: dict[str, str], tmp_path: Path, said: list[str]) -> None:
    home = tmp_path / ("x" * 120)
    paths = Paths.from_environment(environment | {"THV_HOME": str(home)}, "linux")
    paths.ensure()
    scripted = ScriptedControl(paths)
    scripted.will(reply(200, 1))
    try:
        assert ControlClient(environment | {"THV_HOME": str(home)}, said.append).call("GET", "/x") == 1
    finally:
        scripted.close()


# Streams of documents ------------------------------------------------------------------------------------------------


def test_the_documents_of_a_stream_are_yielded_as_they_come(control: ScriptedControl, client: ControlClient) -> None:
    control.will(story({"n": 1}, {"n": 2}))
    assert list(client.documents("/x?y=z")) == [{"n": 1}, {"n": 2}]
    assert control.requests[0][:2] == ("GET", "/x?y=z")


def test_an_error_within_a_stream_ends_it(control: ScriptedControl, client: ControlClient) -> None:
    control.will(story({"n": 1}, {"error": NotFound("gone").document()}, {"n": 2}))
    documents = client.documents("/x")
    assert next(documents) == {"n": 1}
    with pytest.raises(NotFound, match="gone"):
        next(documents)


def test_a_stream_that_is_cut_is_not_taken_for_whole(control: ScriptedControl, client: ControlClient) -> None:
    control.will(story({"n": 1}, end=False))
    with pytest.raises(Unavailable, match="before its answer was complete"):
        list(client.documents("/x"))


def test_a_stream_that_is_refused_is_an_error(control: ScriptedControl, client: ControlClient) -> None:
    control.will(refusal(NotFound("no such"), 404))
    with pytest.raises(NotFound, match="no such"):
        list(client.documents("/x"))


# What a request says of itself ---------------------------------------------------------------------------------------


def test_a_call_may_have_a_body(control: ScriptedControl, client: ControlClient) -> None:
    control.will(reply(201, {"name": "team"}))
    assert client.call("POST", "/x", body={"name": "team"}) == {"name": "team"}
    ((_, _, headers, body),) = control.requests
    assert (headers["content-type"], json.loads(body)) == ("application/json", {"name": "team"})
    assert "accept" not in headers or "ndjson" not in headers["accept"]


def test_a_story_is_asked_for_in_lines(control: ScriptedControl, client: ControlClient) -> None:
    control.will(story({"ready": 1}))
    list(client.story("POST", "/x"))
    ((_, _, headers, body),) = control.requests
    assert (headers["accept"], body) == ("application/x-ndjson", b"")


def test_a_lease_is_told_until_it_is_cut_and_is_judged_only_when_that_is_asked(
    control: ScriptedControl, client: ControlClient
) -> None:
    control.will(story({"listening": 1}, {}, end=False))
    assert list(client.lease("/x", {"port": 1}, 5.0, judged=True)) == [{"listening": 1}, {}]
    assert list(client.lease("/x", {"port": 1}, 5.0, judged=False)) == [{"listening": 1}, {}]
    first, second = (headers for _, _, headers, _ in control.requests)
    assert "x-thv-installation" in first
    assert "x-thv-installation" not in second


def test_a_lease_that_is_silent_for_too_long_is_taken_for_cut(control: ScriptedControl, client: ControlClient) -> None:
    def silent(connection: socket.socket) -> None:
        story({"listening": 1}, end=False)(connection)
        connection.recv(1)

    control.will(silent)
    assert list(client.lease("/x", {}, 0.2, judged=True)) == [{"listening": 1}]


def test_a_lease_that_is_never_granted_is_an_error(control: ScriptedControl, client: ControlClient) -> None:
    control.will(lambda connection: connection.recv(1) and None)
    with pytest.raises(Unavailable, match="did not answer within"):
        list(client.lease("/x", {}, 0.2, judged=True))


def test_a_lease_that_is_refused_is_an_error(control: ScriptedControl, client: ControlClient) -> None:
    control.will(refusal(AlreadyExists("there is one"), 409))
    with pytest.raises(AlreadyExists):
        list(client.lease("/x", {}, 5.0, judged=True))
