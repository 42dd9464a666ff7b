"""The server on the real MCP SDK over HTTP and SSE."""

import socket
import sys

from sdk_server import server

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
sys.stderr.write(f"http://127.0.0.1:{port}/sse\n")
sys.stderr.flush()
server.run("sse", host="127.0.0.1", port=port)
