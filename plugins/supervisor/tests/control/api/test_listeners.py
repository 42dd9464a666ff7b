"""Listeners on TCP and on Unix sockets: who may come in, and that none outlives the connection that asked for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from litestar.types import ASGIApp
from msgspec.structs import replace

from thv_core.errors import InvalidRequest, PortUnavailable
from thv_supervisor.control.api import listeners, server
from thv_supervisor.control.api.binding import bind
from thv_supervisor.control.api.requests import ListenerRequest
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.wire import LISTENERS

LIMIT = 10.0
ALL = "/api/v1beta/workloads"


class Answered:
    """An answer over a real connection."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)


def get(
    url: str, path: str = ALL, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
) -> Answered:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=LIMIT)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        return Answered(connection.getresponse())
    finally:
        connection.close()


def bearer(rig: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {rig.paths.api_token.read_text().strip()}"}


# The token -----------------------------------------------------------------------------------------------------------


def test_a_request_on_tcp_needs_the_token_of_a_file_that_only_its_owner_can_read(served: Any, rig: Any) -> None:
    url = served.listen()
    assert stat.S_IMODE(rig.paths.api_token.stat().st_mode) == 0o600
    assert len(rig.paths.api_token.read_text().strip()) >= 43
    assert get(url, headers=bearer(rig)).json() == {"workloads": []}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": bearer(rig)["authorization"][7:]}):
        refused = get(url, headers=headers)
        assert (refused.status, refused.json()["code"]) == (401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
    assert get(url, "/api/doc").status == 401
    assert get(url, "/health").status == 401


def test_the_token_stays_the_same_for_the_next_listener(served: Any, rig: Any) -> None:
    served.listen()
    token = rig.paths.api_token.read_bytes()
    url = served.listen()
    assert rig.paths.api_token.read_bytes() == token
    assert get(url, headers=bearer(rig)).status == 200


@pytest.mark.parametrize("damage", ["mode", "content", "link"])
def test_a_token_that_others_can_read_or_that_is_none_opens_nothing(
    play: Any, asked: Any, rig: Any, tmp_path: Path, damage: str
) -> None:
    rig.paths.api_token.write_text("x" * 43 if damage == "mode" else "short")
    rig.paths.api_token.chmod(0o640 if damage == "mode" else 0o600)
    if damage == "link":
        rig.paths.api_token.rename(tmp_path / "elsewhere")
        rig.paths.api_token.symlink_to(tmp_path / "elsewhere")

    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "POST", LISTENERS, b'{"port": 0}')
        assert (reply.status, reply.json()["code"]) == (500, "state-unusable")
        assert reply.json()["hint"] == f"Have a new one made:  rm {rig.paths.api_token}"

    play(story)


# Web pages and foreign names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:{port}"}, 200),
        ({"host": "LOCALHOST:{port}"}, 200),
        ({"host": "[::1]:{port}"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "evil.example:{port}"}, 403),
        ({"host": "127.0.0.1.nip.io:{port}"}, 403),
        ({"host": "127.0.0.1"}, 403),
        ({"host": "127.0.0.1:1"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://127.0.0.1:{port}"}, 200),
        ({"origin": "http://localhost:{port}"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "https://127.0.0.1:{port}"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
    ],
)
@pytest.mark.parametrize("auth", ["token", "none"])
def test_web_pages_and_rebound_names_are_refused_with_and_without_a_token(
    served: Any, rig: Any, auth: str, headers: dict[str, str], status: int
) -> None:
    url = served.listen(auth=auth)
    port = str(urlsplit(url).port)
    sent = {name: value.format(port=port) for name, value in headers.items()}
    told = get(url, headers=sent | (bearer(rig) if auth == "token" else {}))
    assert told.status == status
    assert not [name for name in told.headers if name.startswith("access-control")]
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_browser_that_asks_first_is_refused(served: Any, rig: Any) -> None:
    url = served.listen()
    asked = {"access-control-request-method": "POST"}
    assert get(url, headers=asked, method="OPTIONS").status == 401
    refused = get(url, headers=asked | bearer(rig), method="OPTIONS")
    assert (refused.status, refused.json()["code"]) == (405, "method-not-allowed")


# What a listener does not do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1beta/shutdown"),
        ("POST", "/api/v1beta/listeners"),
        ("POST", "/api/v1beta/runs"),
        ("DELETE", "/api/v1beta/runs/x"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/doc"),
    ],
)
def test_what_is_the_users_own_is_not_there(served: Any, rig: Any, method: str, path: str) -> None:
    refused = get(served.listen(), path, bearer(rig), method, b"{}" if method == "POST" else None)
    assert (refused.status, refused.json()["message"]) == (404, f"there is no operation {method} {path}")


def test_a_caller_on_tcp_never_has_control_replaced(served: Any, rig: Any, settlement: Any) -> None:
    settlement.headers.clear()
    url = served.listen()
    get(url, headers=bearer(rig) | {"x-thv-installation": "mine"})
    assert settlement.headers == [None, None]


def test_the_description_is_there_when_it_was_asked_for(served: Any, rig: Any) -> None:
    url = served.listen(openapi=True)
    described = get(url, "/api/openapi.json", bearer(rig))
    assert described.json()["openapi"] == "3.1.0"
    assert "/api/v1beta/shutdown" not in described.json()["paths"]
    page = get(url, "/api/doc", bearer(rig))
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_body_that_is_too_large_is_refused(served: Any, rig: Any) -> None:
    url = served.listen()
    refused = get(url, ALL, bearer(rig), "POST", b" " * ((1 << 20) + 1))
    assert (refused.status, refused.json()["code"]) == (413, "too-large")


# How long it lives ---------------------------------------------------------------------------------------------------


def answers(url: str) -> bool:
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname, place.port), timeout=1.0).close()
    except OSError:
        return False
    return True


def test_a_listener_ends_with_the_connection_that_asked_for_it(play: Any, caller: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        lease = caller("POST", LISTENERS, b'{"port": 0}')
        leasing = lease.ask(app)
        await lease.begun.wait()
        (first,) = lease.reply.lines()
        assert first == {
            "listening": {"url": first["listening"]["url"], "token_file": str(rig.paths.api_token)},
        }
        url = first["listening"]["url"]
        assert answers(url)
        told = json.loads(rig.paths.discovery.read_bytes())
        assert told["url"] == url
        assert stat.S_IMODE(rig.paths.discovery.stat().st_mode) == 0o600
        lease.gone.set()
        await asyncio.wait_for(leasing, LIMIT)
        assert not answers(url)
        assert not rig.paths.discovery.exists()

    play(story)


def test_the_discovery_file_names_the_listener_that_answers_with_its_nonce(served: Any, rig: Any) -> None:
    first = served.listen(auth="none")
    second = served.listen(auth="none")
    told = json.loads(rig.paths.discovery.read_bytes())
    assert set(told) == {"url", "pid", "nonce", "started_at"}
    assert told["url"] == second
    assert get(second, "/health").headers["x-toolhive-nonce"] == told["nonce"]
    assert get(first, "/health").headers["x-toolhive-nonce"] != told["nonce"]


def test_a_stale_discovery_file_is_removed_when_control_starts(play: Any, rig: Any) -> None:
    rig.paths.discovery.write_text("{}")

    async def story(app: ASGIApp, control: Reconciler) -> None:
        assert not rig.paths.discovery.exists()

    play(story)


def test_a_lease_shows_that_it_lives_and_says_when_control_is_to_end(
    play: Any, asked: Any, caller: Any, rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "BEAT", 0.01)
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, number: killed.append(number))

    async def story(app: ASGIApp, control: Reconciler) -> None:
        lease = caller("POST", LISTENERS, b'{"port": 0, "auth": "none"}')
        leasing = lease.ask(app)
        await rig.until(lambda: lease.reply.body.count(b"{}\n") > 3)
        url = lease.reply.lines()[0]["listening"]["url"]
        assert (await asked(app, "POST", "/api/v1beta/shutdown")).status == 202
        await asyncio.wait_for(leasing, LIMIT)
        assert lease.reply.lines()[-1] == {"ended": "the processes of thv were told to end"}
        assert (len(killed), answers(url)) == (1, False)

    play(story)


def test_a_unix_socket_needs_no_token_and_is_open_to_its_owner_alone(
    play: Any, caller: Any, rig: Any, tmp_path: Path
) -> None:
    path = tmp_path / "api.sock"

    async def story(app: ASGIApp, control: Reconciler) -> None:
        lease = caller("POST", LISTENERS, json.dumps({"socket": str(path)}).encode())
        leasing = lease.ask(app)
        await lease.begun.wait()
        assert lease.reply.lines()[0]["listening"] == {"url": f"unix://{path}", "token_file": ""}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /api/v1beta/workloads HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b'{"workloads":[]}' in await asyncio.wait_for(reader.read(), LIMIT)
        writer.close()
        again = caller("POST", LISTENERS, json.dumps({"socket": str(path)}).encode())
        await asyncio.wait_for(again.ask(app), LIMIT)
        assert (again.reply.status, again.reply.json()["code"]) == (409, "port-unavailable")
        lease.gone.set()
        await asyncio.wait_for(leasing, LIMIT)
        assert not path.exists()
        assert not rig.paths.api_token.exists()

    play(story)


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"host": "0.0.0.0"}, 400, "every address"),
        ({"host": "::"}, 400, "every address"),
        ({"host": "example.com"}, 400, "is no address"),
        ({"host": "192.0.2.7", "auth": "none"}, 400, "loopback alone"),
        ({"host": "0.0.0.0", "auth": "none"}, 400, "loopback alone"),
        ({"host": "192.0.2.7"}, 400, "cannot be bound"),
        ({"auth": "basic"}, 400, "neither token nor none"),
        ({"socket": "api.sock"}, 400, "not an absolute path"),
        ({"socket": "/nowhere/api.sock"}, 400, "cannot be bound"),
        ({"prot": 1}, 400, "Did you mean port"),
    ],
)
def test_what_nothing_may_listen_at_is_refused(
    play: Any, asked: Any, rig: Any, given: dict[str, Any], status: int, words: str
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "POST", LISTENERS, json.dumps({"port": 0} | given).encode())
        assert reply.status == status
        assert words in reply.body.decode()
        assert not rig.paths.discovery.exists()

    play(story)


def test_a_port_that_is_taken_is_refused(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            reply = await asked(app, "POST", LISTENERS, json.dumps({"port": taken.getsockname()[1]}).encode())
        assert (reply.status, reply.json()["code"]) == (409, "port-unavailable")

    play(story)


@pytest.mark.parametrize("place", ["tcp", "unix"])
def test_of_two_who_ask_for_one_place_at_once_one_gets_it(tmp_path: Path, place: str) -> None:
    asked = ListenerRequest(port=0) if place == "tcp" else ListenerRequest(socket=str(tmp_path / "api.sock"))
    first = bind(asked)
    with first.socket:
        again = replace(asked, port=first.socket.getsockname()[1]) if place == "tcp" else asked
        with pytest.raises(PortUnavailable):
            bind(again)


def test_a_socket_of_another_kind_is_not_taken_for_one_that_was_left(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(InvalidRequest, match="cannot be bound"):
            bind(ListenerRequest(socket=str(path)))
        assert path.is_socket()


def test_a_listener_leaves_the_socket_that_took_its_place(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    bound = bind(ListenerRequest(socket=str(path)))
    with bound.socket:
        path.rename(tmp_path / "mine")
        path.touch()
        bound.clear()
        assert path.exists()


# Clients that dribble or crowd ---------------------------------------------------------------------------------------


def ends(connection: socket.socket) -> bool:
    """Tell whether the other side closes or resets a connection."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: ", b"GET /health HTTP/1.1\r\nhost: h\r\n\r\nGET /"])
def test_a_head_that_does_not_arrive_is_not_waited_for(
    served: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_TIME", 0.1)
    place = urlsplit(served.listen())
    with socket.create_connection((place.hostname, place.port), timeout=LIMIT) as connection:
        connection.sendall(sent)
        assert ends(connection)


def test_a_head_that_is_too_long_is_refused_before_it_has_arrived(served: Any) -> None:
    place = urlsplit(served.listen())
    with socket.create_connection((place.hostname, place.port), timeout=LIMIT) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nx: " + b"y" * (server.LONGEST_HEAD + 1))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")
        assert ends(connection)


def test_no_more_than_so_many_connections_are_served(served: Any, monkeypatch: pytest.MonkeyPatch, rig: Any) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    url = served.listen()
    place = urlsplit(url)
    crowd = [socket.create_connection((place.hostname, place.port), timeout=LIMIT) for _ in range(3)]
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        get(url, headers=bearer(rig))
    for each in crowd:
        each.close()
    served_again = False
    for _ in range(500):
        try:
            served_again = get(url, headers=bearer(rig)).status == 200
            break
        except (ConnectionError, http.client.HTTPException):
            continue
    assert served_again
