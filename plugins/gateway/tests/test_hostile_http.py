"""What attackers and broken clients send, byte for byte, and what becomes of it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from thv_core.model.route import RouteState
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
PARSE, INVALID, REFUSED = -32700, -32600, -32000
CLOSED = 0
"""The status of a connection that is closed without an answer."""


@dataclass(frozen=True)
class Site:
    """A running gateway, and a session at it."""

    port: int
    session: str

    def filled(self, raw: bytes) -> bytes:
        """Return the bytes of a case with this gateway's own names in them."""
        known = {
            b"HOST": b"127.0.0.1:%d" % self.port,
            b"PORT": b"%d" % self.port,
            b"SESSION": self.session.encode(),
            b"LEN": b"%d" % len(PING),
            b"PING": PING,
        }
        for name, value in known.items():
            raw = raw.replace(b"{%b}" % name, value)
        return raw

    def send(self, *pieces: bytes, pause: float = 0.0) -> tuple[int, int, bool]:
        """Send pieces; return status, JSON-RPC code (0: none), and whether the connection was closed afterwards."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    connection.sendall(self.filled(piece))
                    time.sleep(pause)
            return judged(connection)


def judged(connection: socket.socket) -> tuple[int, int, bool]:
    """Read exactly one answer."""
    head, body = b"", b""
    try:
        while not head.endswith(b"\r\n\r\n"):
            head += taken(connection, 1)
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0"
        while len(body) < int(length):
            body += taken(connection, int(length) - len(body))
    except ConnectionError:
        return (CLOSED, 0, True)
    code = 0
    with contextlib.suppress(ValueError, KeyError, TypeError):
        code = json.loads(body)["error"]["code"]
    return int(head.split(b" ")[1]), code, b"\r\nconnection: close" in head


def taken(connection: socket.socket, size: int) -> bytes:
    part = connection.recv(size)
    if not part:
        raise ConnectionError
    return part


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("hostile")
    server = RunningServer(folder)
    gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), folder / "gateway")
    port = free_port()
    gateway.serve(server.route(port))
    try:
        gateway.start().until(RouteState.READY, "echo.1")
        client = McpClient(port)
        client.initialize()
        yield Site(port, client.session)
        # Whatever came, it serves on.
        assert client.send("POST", PING)[0] == 200
        client.close()
    finally:
        gateway.cut_lifeline()
        gateway.kill()
        server.stop()


def post(*lines: bytes, body: bytes = b"{PING}", line: bytes = b"POST /mcp HTTP/1.1") -> bytes:
    """Return a POST whose framing the case says itself."""
    standard = (b"Host: {HOST}", b"Mcp-Session-Id: {SESSION}", b"Accept: */*")
    return b"\r\n".join((line, *standard, *lines)) + b"\r\n\r\n" + body


def sized(*lines: bytes, body: bytes = PING, line: bytes = b"POST /mcp HTTP/1.1") -> bytes:
    """Return a POST with the length of its body."""
    return post(*lines, b"Content-Length: %d" % len(body), body=body, line=line)


def bare(line: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((line, *lines)) + b"\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked"
ONE_BYTE_CHUNKS = b"".join(b"1\r\n%c\r\n" % byte for byte in PING) + b"0\r\n\r\n"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(PING), PING)

CASES: dict[str, tuple[bytes, int, int, bool]] = {
    # The request line.
    "no-http": (b"HELLO\r\n\r\n", 400, PARSE, True),
    "binary": (bytes(range(256)), 400, PARSE, True),
    "tls-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, PARSE, True),
    "http-2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, PARSE, True),
    "http-0.9": (b"GET /mcp\r\n\r\n", 505, INVALID, True),
    "version-0.9": (bare(b"GET /mcp HTTP/0.9", b"Host: {HOST}"), 505, INVALID, True),
    "version-2": (bare(b"GET /mcp HTTP/2.0", b"Host: {HOST}"), 505, INVALID, True),
    "version-1.2": (bare(b"GET /mcp HTTP/1.2", b"Host: {HOST}"), 400, PARSE, True),
    "version-9.9": (bare(b"GET /mcp HTTP/9.9", b"Host: {HOST}"), 400, PARSE, True),
    "version-lower": (bare(b"GET /mcp http/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "method-unknown": (bare(b"BREW /mcp HTTP/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "method-lower": (bare(b"post /mcp HTTP/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "method-put": (sized(line=b"PUT /mcp HTTP/1.1"), 405, REFUSED, False),
    "method-patch": (sized(line=b"PATCH /mcp HTTP/1.1"), 405, REFUSED, False),
    "method-trace": (bare(b"TRACE /mcp HTTP/1.1", b"Host: {HOST}"), 405, REFUSED, False),
    "method-options": (bare(b"OPTIONS /mcp HTTP/1.1", b"Host: {HOST}"), 405, REFUSED, False),
    "options-asterisk": (bare(b"OPTIONS * HTTP/1.1", b"Host: {HOST}"), 404, 0, False),
    "method-connect": (bare(b"CONNECT evil.example:443 HTTP/1.1", b"Host: {HOST}"), 405, REFUSED, True),
    "double-space": (bare(b"GET  /mcp HTTP/1.1", b"Host: {HOST}"), 400, REFUSED, False),
    "tab-in-line": (bare(b"GET\t/mcp HTTP/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "bare-lf": (b"GET /health HTTP/1.1\nHost: {HOST}\n\n", 400, PARSE, True),
    "bare-cr": (b"GET /health HTTP/1.1\rHost: {HOST}\r\n\r\n", 400, PARSE, True),
    # The target.
    "nul-in-path": (bare(b"GET /mcp\0 HTTP/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "space-in-path": (bare(b"GET /mc p HTTP/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "raw-utf-8-in-path": (bare(b"GET /mcp\xc3\xa4 HTTP/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "bad-utf-8-in-path": (bare(b"GET /mcp\xff HTTP/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "escaped-bad-utf-8": (bare(b"GET /mcp%ff HTTP/1.1", b"Host: {HOST}"), 400, INVALID, True),
    "escaped-nul": (bare(b"GET /mcp%00 HTTP/1.1", b"Host: {HOST}"), 400, INVALID, True),
    "escaped-line-break": (bare(b"GET /mcp%0d%0a HTTP/1.1", b"Host: {HOST}"), 400, INVALID, True),
    "escaped-letter": (sized(line=b"POST /m%63p HTTP/1.1"), 200, 0, False),
    "dots": (bare(b"GET /mcp/../health HTTP/1.1", b"Host: {HOST}"), 404, 0, False),
    "double-slash": (bare(b"GET //health HTTP/1.1", b"Host: {HOST}"), 404, 0, False),
    "no-slash": (bare(b"GET health HTTP/1.1", b"Host: {HOST}"), 400, PARSE, True),
    "absolute-form": (sized(line=b"POST http://{HOST}/mcp HTTP/1.1"), 200, 0, False),
    "absolute-form-elsewhere": (sized(line=b"POST http://evil.example/mcp HTTP/1.1"), 403, INVALID, False),
    "absolute-form-user": (sized(line=b"POST http://u@{HOST}/mcp HTTP/1.1"), 400, INVALID, True),
    "absolute-form-empty": (sized(line=b"POST http:///mcp HTTP/1.1"), 400, INVALID, True),
    "query": (sized(line=b"POST /mcp?x=%ff HTTP/1.1"), 200, 0, False),
    "query-raw-bytes": (sized(line=b"POST /mcp?x=\xff HTTP/1.1"), 400, PARSE, True),
    "long-path": (bare(b"GET /" + b"a" * 30_000 + b" HTTP/1.1", b"Host: {HOST}"), 404, 0, False),
    "endless-path": (bare(b"GET /" + b"a" * 70_000 + b" HTTP/1.1", b"Host: {HOST}"), 431, INVALID, True),
    # The fields.
    "endless-field": (sized(b"X: " + b"a" * 70_000), 431, INVALID, True),
    "endless-name": (sized(b"X" * 70_000 + b": a"), 431, INVALID, True),
    "many-fields": (sized(*[b"X%d: a" % each for each in range(9_000)]), 431, INVALID, True),
    "some-fields": (sized(*[b"X%d: a" % each for each in range(1_000)]), 200, 0, False),
    "nul-in-field": (sized(b"X: a\0b"), 400, PARSE, True),
    "cr-in-field": (sized(b"X: a\rb"), 400, PARSE, True),
    "lf-in-field": (sized(b"X: a\nY: b"), 400, PARSE, True),
    "space-before-colon": (sized(b"X : a"), 400, PARSE, True),
    "no-colon": (sized(b"X"), 400, PARSE, True),
    "no-name": (sized(b": a"), 400, PARSE, True),
    "folded": (sized(b"X: a\r\n b"), 400, PARSE, True),
    "folded-length": (post(b"Content-Length: 4\r\n 0"), 400, PARSE, True),
    "field-before-name": (b"POST /mcp HTTP/1.1\r\n Host: {HOST}\r\n\r\n", 400, PARSE, True),
    "high-bytes-in-field": (sized(b"X: \xff\xfe"), 200, 0, False),
    "empty-field": (sized(b"X:"), 200, 0, False),
    # Names of hosts.
    "no-host": (bare(b"GET /health HTTP/1.1"), 400, INVALID, True),
    "no-host-1.0": (bare(b"GET /mcp HTTP/1.0"), 403, INVALID, True),
    "two-hosts": (sized(b"Host: evil.example"), 400, INVALID, True),
    "rebound-host": (bare(b"GET /mcp HTTP/1.1", b"Host: evil.example:{PORT}"), 403, INVALID, False),
    "rebound-suffix": (bare(b"GET /mcp HTTP/1.1", b"Host: 127.0.0.1.evil.example"), 403, INVALID, False),
    "host-with-user": (bare(b"GET /mcp HTTP/1.1", b"Host: evil@127.0.0.1"), 403, INVALID, False),
    "host-other-port": (bare(b"GET /mcp HTTP/1.1", b"Host: 127.0.0.1:1"), 403, INVALID, False),
    "host-empty": (bare(b"GET /mcp HTTP/1.1", b"Host:"), 403, INVALID, False),
    "host-zero": (bare(b"GET /mcp HTTP/1.1", b"Host: 0.0.0.0:{PORT}"), 403, INVALID, False),
    "origin-null": (sized(b"Origin: null"), 403, INVALID, False),
    "origin-foreign": (sized(b"Origin: http://evil.example"), 403, INVALID, False),
    "origin-https": (sized(b"Origin: https://{HOST}"), 403, INVALID, False),
    "origin-prefix": (sized(b"Origin: http://{HOST}.evil.example"), 403, INVALID, False),
    "origin-own": (sized(b"Origin: http://{HOST}"), 200, 0, False),
    "two-origins": (sized(b"Origin: http://{HOST}", b"Origin: http://evil.example"), 403, INVALID, False),
    "origins-in-one": (sized(b"Origin: http://{HOST} http://evil.example"), 403, INVALID, False),
    # Given twice.
    "two-sessions": (sized(b"Mcp-Session-Id: {SESSION}"), 400, INVALID, False),
    "two-types": (sized(b"Content-Type: application/json", b"Content-Type: text/plain"), 400, INVALID, False),
    "two-tokens": (sized(b"Authorization: Bearer a", b"Authorization: Bearer b"), 400, INVALID, False),
    # Smuggling.
    "length-and-chunked": (sized(CHUNKED), 400, PARSE, True),
    "chunked-and-length": (post(CHUNKED, b"Content-Length: {LEN}", body=IN_CHUNKS), 400, PARSE, True),
    "two-lengths": (post(b"Content-Length: {LEN}", b"Content-Length: 3"), 400, PARSE, True),
    "two-equal-lengths": (post(b"Content-Length: {LEN}", b"Content-Length: {LEN}"), 400, PARSE, True),
    "length-list": (post(b"Content-Length: {LEN}, {LEN}"), 400, PARSE, True),
    "length-signed": (post(b"Content-Length: +{LEN}"), 400, PARSE, True),
    "length-negative": (post(b"Content-Length: -1"), 400, PARSE, True),
    "length-hex": (post(b"Content-Length: 0x10"), 400, PARSE, True),
    "length-empty": (post(b"Content-Length:"), 400, PARSE, True),
    "length-endless": (post(b"Content-Length: " + b"9" * 40), 400, PARSE, True),
    "length-word": (post(b"Content-Length: many"), 400, PARSE, True),
    "encoding-gzip": (post(b"Transfer-Encoding: gzip"), 400, INVALID, True),
    "encoding-gzip-chunked": (post(b"Transfer-Encoding: gzip, chunked", body=IN_CHUNKS), 400, INVALID, True),
    "encoding-chunked-gzip": (post(b"Transfer-Encoding: chunked, gzip", body=IN_CHUNKS), 400, PARSE, True),
    "encoding-twice": (post(CHUNKED, CHUNKED, body=IN_CHUNKS), 400, PARSE, True),
    "encoding-x-chunked": (post(b"Transfer-Encoding: xchunked", body=IN_CHUNKS), 400, INVALID, True),
    "encoding-quoted": (post(b'Transfer-Encoding: "chunked"', body=IN_CHUNKS), 400, INVALID, True),
    "encoding-1.0": (post(CHUNKED, body=IN_CHUNKS, line=b"POST /mcp HTTP/1.0"), 400, INVALID, True),
    "encoding-upper": (post(b"TRANSFER-ENCODING: CHUNKED", body=IN_CHUNKS), 200, 0, False),
    # Chunks.
    "one-byte-chunks": (post(CHUNKED, body=ONE_BYTE_CHUNKS), 200, 0, False),
    "trailer": (post(CHUNKED, body=IN_CHUNKS[:-2] + b"X: y\r\n\r\n"), 200, 0, False),
    "trailer-is-no-field": (
        post(CHUNKED, body=IN_CHUNKS[:-2] + b"Host: evil.example\r\nMcp-Session-Id: x\r\n\r\n"),
        200,
        0,
        False,
    ),
    "endless-trailer": (post(CHUNKED, body=IN_CHUNKS[:-2] + b"X: " + b"y" * 700_000), 431, INVALID, True),
    "extension": (post(CHUNKED, body=IN_CHUNKS.replace(b"\r\n", b";a=b\r\n", 1)), 200, 0, False),
    "endless-extension": (post(CHUNKED, body=b"5;" + b"a" * 700_000), 431, INVALID, True),
    "size-word": (post(CHUNKED, body=b"five\r\nhello\r\n"), 400, PARSE, True),
    "size-0x": (post(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"), 400, PARSE, True),
    "size-negative": (post(CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n"), 400, PARSE, True),
    "size-overflow": (post(CHUNKED, body=b"f" * 17 + b"\r\nhello"), 400, PARSE, True),
    "size-empty": (post(CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n"), 400, PARSE, True),
    "size-spaced": (post(CHUNKED, body=b"5 \r\nhello\r\n0\r\n\r\n"), 400, PARSE, True),
    "chunk-too-short": (post(CHUNKED, body=b"9\r\nhello\r\n0\r\n\r\n"), 400, PARSE, True),
    "chunk-too-long": (post(CHUNKED, body=b"2\r\nhello\r\n0\r\n\r\n"), 400, PARSE, True),
    "chunk-bare-lf": (post(CHUNKED, body=b"5\nhello\n0\n\n"), 400, PARSE, True),
    # Bodies.
    "body-empty": (sized(body=b""), 400, PARSE, False),
    "body-none": (post(body=b""), 400, PARSE, False),
    "body-too-large": (post(b"Content-Length: 8388609", body=b""), 413, INVALID, False),
    "body-huge": (post(b"Content-Length: 99999999999", body=b""), 413, INVALID, False),
    "body-bad-utf-8": (sized(body=b'{"jsonrpc":"2.0","id":1,"method":"\xff"}'), 400, PARSE, False),
    "body-nul": (sized(body=b"\0"), 400, PARSE, False),
    "body-bom": (sized(body=b"\xef\xbb\xbf" + PING), 400, PARSE, False),
    "body-utf-16": (sized(body=PING.decode().encode("utf-16")), 400, PARSE, False),
    "body-deep": (sized(body=b"[" * 50_000), 400, INVALID, False),
    "body-deep-object": (sized(body=b'{"jsonrpc":' + b'{"a":' * 9_000), 400, INVALID, False),
    "body-batch": (sized(body=b"[" + PING + b"]"), 400, INVALID, False),
    "body-twice": (sized(body=PING + PING), 400, PARSE, False),
    "body-duplicate-key": (sized(body=PING[:-1] + b',"method":"x"}'), 400, INVALID, False),
    "body-other-case": (sized(body=PING[:-1] + b',"Method":"x"}'), 400, INVALID, False),
    # Media types.
    "type-text": (sized(b"Content-Type: text/plain"), 415, REFUSED, False),
    "type-form": (sized(b"Content-Type: application/x-www-form-urlencoded"), 415, REFUSED, False),
    "type-almost": (sized(b"Content-Type: application/jsonp"), 415, REFUSED, False),
    "type-upper": (sized(b"Content-Type: APPLICATION/JSON;charset=utf-8"), 200, 0, False),
    "type-empty": (sized(b"Content-Type:"), 415, REFUSED, False),
    # Sessions.
    "session-unknown": (
        bare(b"DELETE /mcp HTTP/1.1", b"Host: {HOST}", b"Mcp-Session-Id: nobody"),
        404,
        -32001,
        False,
    ),
    "session-none": (bare(b"DELETE /mcp HTTP/1.1", b"Host: {HOST}"), 400, REFUSED, False),
    # What HTTP offers beside.
    "upgrade": (sized(b"Connection: Upgrade", b"Upgrade: websocket"), 200, 0, False),
    "upgrade-h2c": (
        sized(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: A"),
        200,
        0,
        False,
    ),
    "expect-else": (sized(b"Expect: tea"), 417, REFUSED, True),
    "close": (sized(b"Connection: close"), 200, 0, True),
    "http-1.0": (sized(line=b"POST /mcp HTTP/1.0"), 200, 0, True),
    "http-1.0-kept": (sized(b"Connection: keep-alive", line=b"POST /mcp HTTP/1.0"), 200, 0, False),
    "blank-lines-before": (b"\r\n\r\n" + sized(), 200, 0, False),
    "metrics": (bare(b"GET /metrics HTTP/1.1", b"Host: {HOST}"), 404, 0, False),
    "health-post": (bare(b"POST /health HTTP/1.1", b"Host: {HOST}"), 405, 0, False),
}


@pytest.mark.parametrize("name", CASES)
def test_bytes_get_their_answer(site: Site, name: str) -> None:
    raw, status, code, closed = CASES[name]
    assert site.send(raw) == (status, code, closed)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case[0]) < 2_000])
def test_it_is_the_same_byte_by_byte(site: Site, name: str) -> None:
    raw, status, code, closed = CASES[name]
    filled = site.filled(raw)
    assert site.send(*[filled[at : at + 1] for at in range(len(filled))]) == (status, code, closed)


def test_there_are_as_many_cases_as_were_asked_for() -> None:
    assert len(CASES) >= 80


def test_what_follows_a_refused_request_is_never_a_request(site: Site) -> None:
    smuggled = b"GET /health HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(site.filled(post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + smuggled)))
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"healthy" not in received


def test_a_request_before_a_bad_one_is_answered_first(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(site.filled(sized() + sized() + b"JUNK\r\n\r\n"))
        received = b""
        while part := connection.recv(65536):
            received += part
    statuses = [line.split(b" ")[1] for line in received.split(b"\r\n") if b"HTTP/1.1 " in line]
    assert [each[-3:] for each in statuses] == [b"200", b"200", b"400"]


def test_a_thousand_requests_in_one_piece_are_answered(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
        received, count = b"", 0
        while count < 1_000:
            part = connection.recv(65536)
            assert part
            received += part
            count = received.count(b"HTTP/1.1 200")


def test_the_body_of_a_request_for_another_protocol_is_no_request(site: Site) -> None:
    smuggled = b"DELETE /mcp HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    upgrade = (b"Connection: Upgrade", b"Upgrade: websocket")
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(site.filled(sized(*upgrade, body=site.filled(smuggled)) + sized()))
        assert judged(connection) == (400, PARSE, False)
        assert judged(connection) == (200, 0, False)


def test_many_requests_in_a_row_are_answered_however_they_are_cut(site: Site) -> None:
    count, received = 300, b""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        sent = site.filled(sized()) * count
        feeder = threading.Thread(
            target=lambda: [connection.sendall(sent[at : at + 701]) for at in range(0, len(sent), 701)]
        )
        feeder.start()
        while received.count(b'"result"') < count:
            part = connection.recv(65536)
            assert part, received[-300:]
            received += part
        feeder.join()


def test_a_client_that_waits_for_leave_gets_it(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(site.filled(post(b"Content-Length: {LEN}", b"Expect: 100-continue", body=b"")))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(PING)
        assert judged(connection) == (200, 0, False)


def test_a_client_that_waits_for_leave_gets_its_refusal_instead(site: Site) -> None:
    raw = post(b"Content-Length: 9999999", b"Expect: 100-continue", body=b"")
    assert site.send(raw) == (413, INVALID, True)


def test_a_head_request_has_no_body(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(site.filled(bare(b"HEAD /health HTTP/1.1", b"Host: {HOST}", b"Connection: close")))
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\n")
    assert b"content-length: 0" not in received


def test_405_names_what_is_allowed(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(site.filled(bare(b"PUT /mcp HTTP/1.1", b"Host: {HOST}")))
        assert b"\r\nallow: POST, GET, DELETE\r\n" in connection.recv(65536)


def test_a_body_is_discarded_after_its_refusal_and_the_connection_serves_on(site: Site) -> None:
    size = 9 * 1024 * 1024
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(site.filled(post(b"Content-Length: %d" % size, body=b"")))
        assert judged(connection) == (413, INVALID, False)
        connection.sendall(b" " * size + site.filled(sized()))
        assert judged(connection) == (200, 0, False)


def test_clients_that_vanish_in_the_middle_leave_nothing_behind(site: Site) -> None:
    whole_one = site.filled(sized())
    for at in range(0, len(whole_one), 7):
        with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
            connection.sendall(whole_one[:at])
    assert site.send(sized()) == (200, 0, False)
