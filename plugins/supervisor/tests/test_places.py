"""Where a server is reached, and how."""

from __future__ import annotations

import http.client
import http.server
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from thv_core.errors import InvalidRequest
from thv_supervisor.places import Place

WITHIN = 20.0
REQUEST = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=box.example")


class Hello(http.server.BaseHTTPRequestHandler):
    """Answers each request with its path."""

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "somebody"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class UnixServer(socketserver.UnixStreamServer):
    """HTTP over a Unix socket."""

    server_name = "localhost"
    server_port = 0


def served(server: socketserver.BaseServer) -> Iterator[socketserver.BaseServer]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(WITHIN)


@pytest.fixture
def socket_path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a b.sock"
    for _ in served(UnixServer(str(path), Hello)):
        yield path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of nobody's, for a name that is not that of loopback."""
    target = tmp_path / "cert.pem"
    subprocess.run(
        [*REQUEST, "-keyout", str(tmp_path / "key.pem"), "-out", str(target)],
        check=True,
        capture_output=True,
    )
    return target


@pytest.fixture
def secure(certificate: Path) -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Hello)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for _ in served(server):
        yield f"https://127.0.0.1:{server.server_port}/mcp"


def fetched(place: Place) -> bytes:
    connection = place.connection(WITHIN)
    try:
        connection.request("GET", place.path)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_a_unix_socket_stands_in_the_place_of_a_host(socket_path: Path) -> None:
    quoted = str(socket_path).replace("/", "%2F").replace(" ", "%20")
    assert fetched(Place(f"http+unix://{quoted}/mcp?a=b")) == b"/mcp?a=b"


def test_a_certificate_of_this_machine_is_known_by_what_it_is(secure: str, certificate: Path) -> None:
    assert fetched(Place(secure, str(certificate))) == b"/mcp"


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        fetched(Place(secure))


@pytest.mark.parametrize("url", ["", "far", "ftp://a/", "http://", "http://a:x/", "http://[::1/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an http URL"):
        Place(url)


@pytest.mark.parametrize(
    ("url", "reference", "found"),
    [
        ("http://a:1/x/sse#n", "/messages?s=1", "http://a:1/messages?s=1"),
        ("http://a:1/x/sse", "messages?s=1", "http://a:1/x/messages?s=1"),
        ("http://a/sse", "http://a:80/m", "http://a:80/m"),
        ("http+unix://%2Fs/sse", "/messages?s=1", "http+unix://%2Fs/messages?s=1"),
        ("http+unix://%2Fs/sse", "/messages", "http+unix://%2Fs/messages"),
    ],
)
def test_a_reference_is_resolved_as_a_link_would_be(url: str, reference: str, found: str) -> None:
    assert Place(url).beside(reference).url == found


@pytest.mark.parametrize("reference", ["http://b/m", "https://a/m", "//b/m", "http://a:81/m"])
def test_nothing_is_sent_to_another_host(reference: str) -> None:
    with pytest.raises(InvalidRequest, match="names an endpoint of somebody else"):
        Place("http://a/sse").beside(reference)


def test_another_path_is_on_the_same_server() -> None:
    assert Place("https://a:1/sse?x#n", "/c").with_path("/mcp") == Place("https://a:1/mcp", "/c")


def test_a_connection_is_not_open_yet() -> None:
    connection = Place("http://127.0.0.1:1/").connection(1.0)
    assert isinstance(connection, http.client.HTTPConnection)
    assert connection.sock is None
