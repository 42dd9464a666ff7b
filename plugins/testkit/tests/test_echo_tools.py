import http.server
import json
import socket
import socketserver
import threading

import pytest


class Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 404 if self.path == "/missing" else 200
        self.send_response_only(status)
        self.end_headers()
        self.wfile.write(b"a page")

    def log_message(self, *_):
        """Say nothing."""


class Shouter(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.request.recv(100).upper())


class DatagramShouter(socketserver.BaseRequestHandler):
    def handle(self):
        data, sender = self.request
        sender.sendto(data.upper(), self.client_address)


@pytest.fixture
def served():
    servers = []

    def serving(kind, handler):
        servers.append(kind(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return servers[-1].server_address[1]

    yield serving
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def tool(start):
    client = start()

    def calling(name, **arguments):
        result = client.ask("tools/call", {"name": name, "arguments": arguments})["result"]
        if "structuredContent" in result:
            return result["structuredContent"]
        return result["content"][0]["text"]

    return calling


@pytest.fixture
def nobody():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def test_it_connects_and_talks_over_tcp_and_udp(tool, served, nobody):
    port = served(socketserver.TCPServer, Shouter)
    assert tool("connect", host="127.0.0.1", port=port) == "connected"
    assert tool("connect", host="localhost", port=port, text="hello") == "HELLO"
    assert "cannot connect" in tool("connect", host="127.0.0.1", port=nobody)
    port = served(socketserver.UDPServer, DatagramShouter)
    assert tool("datagram", host="127.0.0.1", port=port, text="hello") == "HELLO"
    assert "no answer" in tool("datagram", host="127.0.0.1", port=nobody)


def test_it_resolves_names(tool):
    assert "127.0.0.1" in tool("resolve", host="localhost")["addresses"]
    assert "cannot resolve" in tool("resolve", host="no-such-host.invalid")


def test_it_fetches_pages_and_obeys_the_proxy_variables_unless_told_otherwise(start, served, nobody, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    client, url = start(), f"http://127.0.0.1:{served(http.server.HTTPServer, Greeter)}"

    def fetch(path, proxied):
        arguments = {"url": url + path, "proxied": proxied}
        return client.ask("tools/call", {"name": "fetch", "arguments": arguments})["result"]

    assert fetch("/", proxied=False)["structuredContent"] == {"status": 200, "body": "a page"}
    assert fetch("/missing", proxied=False)["structuredContent"]["status"] == 404
    assert "Connection refused" in fetch("/", proxied=True)["content"][0]["text"]


def test_it_takes_memory_and_files_and_tells_how_much_room_there_is(tool, tmp_path):
    assert tool("memory", mebibytes=3) == "keeps 3 MiB"
    assert tool("memory", mebibytes=0) == "nothing is kept"
    assert tool("open", files=10) == {"opened": 10, "failure": ""}
    assert tool("open", files=100_000_000)["failure"] == "Too many open files"
    space = tool("space", path=str(tmp_path))
    assert 0 < space["free"] <= space["size"]


def test_it_floods_whoever_reads_what_it_writes(start):
    client = start()
    client.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": flood("flood_stdout")})
    client.send({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": flood("long_line")})
    client.send({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": flood("long_answer")})
    lines = []
    while len(lines) < 3:
        line = client.line()
        if line[:1] == b"{" or len(line) > 1000:
            lines.append(line)
    assert json.loads(lines[0])["id"] == 1
    assert len(lines[1]) > 1_000_000
    assert lines[1][:5] == b"noise"
    assert json.loads(lines[2])["id"] == 2
    assert len(client.line()) > 1 << 20


def test_it_floods_standard_error(start):
    client = start()
    client.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": flood("flood_stderr")})
    written = 0
    while written < 1_000_000:
        written += len(client.process.stderr.read(65536))
    assert client.receive()["id"] == 1


def flood(name):
    return {"name": name, "arguments": {"mebibytes": 1}}
