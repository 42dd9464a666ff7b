"""A server on pipes that refuses every ping, and notes each of them on standard error."""

import json
import sys

for line in sys.stdin:
    message = json.loads(line) if line.strip() else {}
    answer = {"jsonrpc": "2.0", "id": message.get("id")}
    if message.get("method") == "initialize":
        information = {"name": "x", "version": "1"}
        answer["result"] = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": information}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    if message.get("method") == "ping":
        sys.stderr.write("ping\n")
        sys.stderr.flush()
    if "id" in message:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
