"""A server of HTTP that speaks the stateless era alone, and tells what it saw."""

import http.server
import json
import sys
import threading
import time

SEEN = []
OPEN = []
RESERVED = "io.modelcontextprotocol/"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fail(self, message, status, code, **data):
        error = {"code": code, "message": "no", **({"data": data} if data else {})}
        self.answer(status, {"jsonrpc": "2.0", "id": message.get("id"), "error": error})

    def result(self, message, **result):
        self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", **result}})

    def do_GET(self):
        self.fail({}, 405, -32600)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method, params = message["method"], message.get("params", {})
        SEEN.append([method, {name.lower(): value for name, value in self.headers.items()}, params])
        meta = params.get("_meta", {})
        version = self.headers.get("mcp-protocol-version")
        if version != "2026-07-28":
            self.fail(message, 400, -32022, supported=["2026-07-28"], requested=version or "")
        elif (
            meta.get(RESERVED + "protocolVersion") != version
            or self.headers.get("mcp-method") != method
            or (method in NAMED and "mcp-name" not in self.headers)
        ):
            self.fail(message, 400, -32020)
        elif method == "server/discover":
            told = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            self.result(message, **told, ttlMs=0, cacheScope="private")
        elif method == "tools/list":
            self.result(message, tools=[{"name": "first"}, {"name": "second"}], ttlMs=0, cacheScope="private")
        elif method == "subscriptions/listen":
            self.listen(message)
        elif method == "tools/call":
            getattr(self, "tool_" + params["name"], self.tool_seen)(message)
        else:
            self.fail(message, 404, -32601)

    def tool_seen(self, message):
        self.result(message, seen=SEEN, open=len(OPEN))

    def tool_needs(self, message):
        self.fail(message, 400, -32021, requiredCapabilities={"sampling": {}})

    def tool_never(self, message):
        self.held()

    def stream(self):
        self.send_response_only(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def event(self, message):
        data = b"data: " + json.dumps(message).encode() + b"\n\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def listen(self, message):
        self.stream()
        meta = {RESERVED + "subscriptionId": message["id"]}
        self.event({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {"_meta": meta}})
        self.held()

    def held(self):
        """Say nothing until the client goes away."""
        OPEN.append(self)
        try:
            while self.connection.recv(1):
                pass
        except OSError:
            pass
        OPEN.remove(self)
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Handler)
sys.stderr.write(f"listens on http://127.0.0.1:{server.server_port}/mcp\n")
sys.stderr.flush()
threading.Thread(target=server.serve_forever, daemon=True).start()
while True:
    time.sleep(60)
