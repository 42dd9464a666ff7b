"""A server of HTTP and SSE that does what the name of a tool says, and tells what it saw.

The first argument says how it begins a stream: ``well``, ``elsewhere``, ``silent`` or ``refusing``.
"""

import http.server
import json
import os
import signal
import sys

MODE = sys.argv[1] if len(sys.argv) > 1 else "well"
STREAMS = {}
SEEN = []
ENDPOINTS = {"well": "/messages?session_id={}", "elsewhere": "http://elsewhere.example/messages?session_id={}"}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def event(self, data, name="message"):
        piece = f"event: {name}\r\ndata: {data}\r\n\r\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.flush()

    def do_GET(self):
        if self.path != "/sse" or MODE == "refusing":
            self.send_response_only(403)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        self.send_response_only(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        name = f"s{len(SEEN)}"
        SEEN.append(name)
        STREAMS[name] = self
        self.capabilities, self.session = None, name
        if MODE in ENDPOINTS:
            self.event(ENDPOINTS[MODE].format(name), "endpoint")
        try:
            while self.connection.recv(1):
                pass
        except OSError:
            pass
        STREAMS.pop(name, None)
        self.close_connection = True

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        stream = STREAMS.get(self.path.rpartition("=")[2])
        self.send_response_only(202 if stream else 404)
        self.send_header("content-length", "8")
        self.end_headers()
        self.wfile.write(b"Accepted")
        self.wfile.flush()
        if stream:
            stream.heed(message)

    def heed(self, message):
        method = message.get("method")
        if method == "initialize":
            self.capabilities = message["params"]["capabilities"]
            self.client = message["params"]["clientInfo"]["name"]
            capabilities = {"tools": {"listChanged": True}, "logging": {}, "resources": {"subscribe": True}}
            self.reply(message, {"protocolVersion": "2024-11-05", "capabilities": capabilities, "serverInfo": {}})
        elif method == "tools/list":
            self.reply(message, {"tools": [{"name": "ok", "inputSchema": {"type": "object"}}]})
        elif method == "logging/setLevel":
            self.level = message["params"]["level"]
            self.reply(message, {})
        elif method == "resources/subscribe":
            self.subscribed = message["params"]["uri"]
            self.reply(message, {})
        elif method == "tools/call":
            getattr(self, "tool_" + message["params"]["name"])(message)
        elif method and "id" in message:
            self.reply(message, {})

    def reply(self, message, result):
        self.event(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))

    def tool_ok(self, message):
        seen = {
            name: getattr(self, name, None) for name in ("session", "client", "capabilities", "level", "subscribed")
        }
        self.reply(message, seen | {"streams": sorted(STREAMS)})

    def tool_never(self, message):
        pass

    def tool_garbage(self, message):
        self.event("this is not MCP")
        self.reply(message, {"ok": True})

    def tool_cut(self, message):
        self.connection.shutdown(2)

    def tool_tell(self, message):
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": self.session}}
        self.event(json.dumps(note))
        self.reply(message, {"ok": True})

    def tool_die(self, message):
        os._exit(1)

    def tool_freeze(self, message):
        os.kill(os.getpid(), signal.SIGSTOP)


server = Server(("127.0.0.1", 0), Handler)
sys.stderr.write(f"listens on http://127.0.0.1:{server.server_address[1]}/sse\n")
sys.stderr.flush()
server.serve_forever()
