"""A server of HTTP that keeps no sessions, and refuses who names one."""

import http.server
import json
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, document=None):
        body = json.dumps(document).encode() if document else b""
        self.send_response_only(status)
        if body:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "mcp-session-id" in self.headers:
            self.answer(400)
        elif "id" not in message:
            self.answer(202)
        else:
            result = {"tools": []}
            if message["method"] == "initialize":
                info = {"name": "sessionless", "version": "1"}
                result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
sys.stderr.write(f"listens on http://127.0.0.1:{server.server_port}/mcp\n")
sys.stderr.flush()
server.serve_forever()
