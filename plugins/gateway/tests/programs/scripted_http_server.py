"""A server of HTTP that does what the name of a tool says, and tells what it saw."""

import http.server
import json
import pathlib
import sys
import time

SEEN = []
STREAMS = []
POLLED = []


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", media="application/json", **fields):
        self.send_response_only(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        if body:
            self.send_header("content-type", media)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, **fields):
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def piece(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def do_GET(self):
        SEEN.append(["GET", dict(self.headers), None])
        self.stream()
        if self.headers.get("last-event-id") == "poll" and POLLED:
            self.piece(b"id: polled\ndata: " + reply(POLLED.pop(), {"polled": True}) + b"\n\n")
            self.piece_end()
            return
        self.piece(b"id: 1\ndata: \n\n")
        STREAMS.append(self)
        try:
            while self.connection.recv(1):
                pass
        except OSError:
            pass
        STREAMS.remove(self)

    def do_DELETE(self):
        SEEN.append(["DELETE", dict(self.headers), None])
        self.answer(200)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        SEEN.append(["POST", {name.lower(): value for name, value in self.headers.items()}, message])
        method = message.get("method")
        if "id" not in message or "method" not in message:
            self.answer(202)
        elif method == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "x"}}
            result |= json.loads(pathlib.Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {}
            session = f"session-{len(SEEN)}"
            if message["params"]["clientInfo"]["name"] == "thv":
                # As the TypeScript SDK does.
                self.stream(mcp_session_id=session)
                self.piece(b"event: message\ndata: " + reply(message, result) + b"\n\n")
                self.piece_end()
            else:
                self.answer(200, reply(message, result), mcp_session_id=session)
        elif method == "server/discover" and len(sys.argv) <= 2:
            result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            self.answer(200, reply(message, result | {"ttlMs": 0, "cacheScope": "private"}))
        elif method == "subscriptions/listen":
            self.listen(message)
        elif method == "tools/list":
            cursor = message.get("params", {}).get("cursor")
            page = {"tools": [{"name": "second"}]} if cursor else {"tools": [{"name": "first"}], "nextCursor": "x"}
            if len(sys.argv) > 3:
                page = {"tools": [{"name": f"{number:0300}"} for number in range(10_000)]}
            self.answer(200, reply(message, page))
        elif self.headers.get("mcp-session-id") == "forgotten":
            body = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32001, "message": "no such session"}}
            self.answer(404, json.dumps(body).encode(), mcp_session_id="dead")
        else:
            name = message.get("params", {}).get("name", "")
            getattr(self, "tool_" + name.replace("-", "_"), self.tool_ok)(message)

    def listen(self, message):
        """Acknowledge, and be told of what is announced until the client goes away."""
        self.stream()
        told = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {}}
        self.piece(b"data: " + json.dumps(told).encode() + b"\n\n")
        STREAMS.append(self)
        try:
            while self.connection.recv(1):
                pass
        except OSError:
            pass
        STREAMS.remove(self)

    def piece_end(self):
        self.wfile.write(b"0\r\n\r\n")

    def tool_ok(self, message):
        self.answer(200, reply(message, {"ok": True}))

    def tool_seen(self, message):
        self.answer(200, reply(message, {"seen": SEEN, "streams": len(STREAMS)}))

    def tool_html(self, message):
        self.answer(200, b"<html>", "text/html")

    def tool_page(self, message):
        self.answer(500, b"<script>", "text/html; charset=utf-8")

    def tool_redirect(self, message):
        self.answer(307, b"", location="http://127.0.0.1/elsewhere")

    def tool_broken(self, message):
        self.answer(500, b"it broke", "text/plain")

    def tool_accepted(self, message):
        self.answer(202)

    def tool_strange(self, message):
        self.answer(777, b"?", "text/plain")

    def tool_other(self, message):
        self.answer(200, reply(message | {"id": "another"}, {"secret": True}))

    def tool_hang_up(self, message):
        self.close_connection = True

    def tool_not_http(self, message):
        self.wfile.write(b"SSH-2.0-x\r\n")
        self.close_connection = True

    def tool_never(self, message):
        time.sleep(60)

    def tool_large(self, message):
        self.answer(200, reply(message, {"x": "x" * message["params"]["arguments"]["size"]}))

    def tool_stream(self, message):
        self.stream()
        self.piece(b": hello\n\n")
        self.piece(b"id: 7\r\nevent: message\r\nretry: 5\r\nda")
        self.piece(b'ta: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"1"}}\r\n\r\n')
        self.piece(b"data: this is not MCP\n\n")
        self.piece(b"data: " + reply(message, {"ok": True}) + b"\n\n")
        self.piece_end()

    def tool_poll(self, message):
        POLLED.append(message)
        self.stream()
        self.piece(b"id: poll\nretry: 10\ndata: \n\n")
        self.piece_end()

    def tool_cut(self, message):
        self.stream()
        self.piece(b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n')
        self.close_connection = True

    def tool_slowly(self, message):
        self.stream()
        for _ in range(10):
            time.sleep(0.1)
            self.piece(b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n')
        self.piece(b"data: " + reply(message, {"ok": True}) + b"\n\n")
        self.piece_end()

    def tool_endless(self, message):
        self.stream()
        line = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"' + b"x" * 60000 + b'"}}\n\n'
        sent = 0
        try:
            while True:
                self.piece(line)
                sent += len(line)
                SEEN.append(["sent", sent, None])
                del SEEN[:-50]
        except OSError:
            SEEN.append(["ended", sent, None])

    def tool_announce(self, message):
        for each in STREAMS:
            each.piece(b'id: 2\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n')
        self.tool_ok(message)


def reply(message, result):
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()


delay = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.server_bind()
sys.stderr.write(f"listens on http://127.0.0.1:{server.server_address[1]}/mcp\n")
sys.stderr.flush()
time.sleep(delay)
server.server_activate()
server.serve_forever()
