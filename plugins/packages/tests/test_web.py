"""An index is asked within bounds, by the user's proxy, and no secret is sent to another host."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from thv_core.errors import Unavailable
from thv_packages import web as web_module
from thv_packages.web import Web, basic, bearer

Respond = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A server that answers with a function and remembers the requests."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.respond: Respond = lambda handler: reply(handler, 200, b"body")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append((self.path, self.headers.get("Authorization", "")))
                server.respond(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve until the test ends."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def other() -> Iterator[Server]:
    """Serve at another port until the test ends."""
    server = Server()
    yield server
    server.stop()


def test_an_answer_has_a_body_and_its_kind(server):
    answer = Web({}).get(f"{server.url}/a", "text/html", bearer("hunter2"))

    assert answer is not None
    assert (answer.kind, answer.body) == ("text/html", b"body")
    assert server.seen == [("/a", "Bearer hunter2")]


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_nothing(status, server):
    server.respond = lambda handler: reply(handler, status, b"")

    assert Web({}).get(server.url, "*/*") is None


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_refusal_is_unavailable(status, server):
    server.respond = lambda handler: reply(handler, status, b"")

    with pytest.raises(Unavailable) as caught:
        Web({}).get(server.url, "*/*", basic("me", "hunter2"))
    assert caught.value.evidence == (f"HTTP status {status}",)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_a_redirection_to_another_host_is_refused_and_nobody_there_is_asked(scheme, server, other):
    there = other.url.replace("http", scheme)
    server.respond = lambda handler: reply(handler, 302, b"", Location=f"{there}/there")

    with pytest.raises(Unavailable) as caught:
        Web({}).get(f"{server.url}/here", "*/*", bearer("hunter2"))
    assert "hunter2" not in str(caught.value)
    assert other.seen == []


def test_a_redirection_within_an_index_is_followed(server):
    server.respond = lambda handler: reply(
        handler, 200 if handler.path.endswith("/") else 301, b"body", Location=f"{handler.path}/"
    )

    answer = Web({}).get(f"{server.url}/here", "*/*")
    assert answer is not None
    assert answer.body == b"body"
    assert [path for path, _ in server.seen] == ["/here", "/here/"]


def test_a_redirection_without_end_is_refused(server):
    server.respond = lambda handler: reply(handler, 302, b"", Location=f"{handler.path}x")

    with pytest.raises(Unavailable):
        Web({}).get(f"{server.url}/here", "*/*")
    assert len(server.seen) < 20


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("https://a.example/x", "https://A.example:443/y", True),
        ("http://a.example/x", "https://a.example/x", True),
        ("https://a.example/x", "http://a.example/x", False),
        ("https://a.example/x", "http://a.example:443/x", False),
        ("http://a.example/x", "http://169.254.169.254/latest", False),
        ("http://a.example/x", "http://a.example:8080/x", False),
        ("http://a.example:8080/x", "https://a.example/x", False),
        ("http://a.example/x", "https://b.example/x", False),
        ("http://a.example/x", "http://a.example@b.example/x", False),
    ],
)
def test_an_index_answers_for_itself(here, there, same):
    assert web_module._answers_for_itself(here, there) is same


def test_an_index_that_drips_is_given_up_in_time(server, monkeypatch):
    monkeypatch.setattr(web_module, "_SECONDS", 0.5)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            for _ in range(200):
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n"[:1])
                time.sleep(0.05)

    server.respond = drip
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"more than 0\.5 seconds"):
        Web({}).get(server.url, "*/*")
    assert time.monotonic() - started < 5


def test_a_body_that_drips_is_given_up_in_time(server, monkeypatch):
    monkeypatch.setattr(web_module, "_SECONDS", 0.5)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        reply(handler, 200, b"")
        with contextlib.suppress(OSError):
            for _ in range(200):
                handler.wfile.write(b"x")
                time.sleep(0.05)

    server.respond = drip
    with pytest.raises(Unavailable, match=r"more than 0\.5 seconds"):
        Web({}).get(server.url, "*/*")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://index.example/", "", "https://"])
def test_what_is_no_address_of_an_index_is_not_opened(url):
    with pytest.raises(Unavailable):
        Web({}).get(url, "*/*")


def test_more_than_an_index_sends_is_refused(server, monkeypatch):
    monkeypatch.setattr(web_module, "_MOST_BYTES", 1 << 20)
    server.respond = lambda handler: reply(handler, 200, b"x" * (2 << 20))

    with pytest.raises(Unavailable, match="more than 1 MiB"):
        Web({}).get(server.url, "*/*")


def test_the_proxy_of_the_user_is_asked_unless_the_host_is_excepted(server, other):
    environment = {"http_proxy": other.url, "NO_PROXY": "127.0.0.1"}

    assert Web(environment).get(f"{server.url}/direct", "*/*")
    assert server.seen
    assert Web(environment).get("http://index.invalid/by-proxy", "*/*")
    assert other.seen == [("http://index.invalid/by-proxy", "")]


def test_nobody_is_unavailable():
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1 does not answer"):
        Web({}).get("http://127.0.0.1:1/", "*/*")
