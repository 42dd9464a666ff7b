"""Answer the handshake over pipes, and then write the same bytes for ever; the second argument is how often at most."""

import json
import os
import sys

for line in sys.stdin:
    message = json.loads(line or "{}") if line.strip() else {}
    if message.get("method") == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "flood"}}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
        sys.stdout.flush()
    elif message.get("method") == "notifications/initialized":
        break

piece = sys.argv[1].encode().decode("unicode_escape").encode()
block = piece * max(1, 65536 // len(piece))
for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 60):
    rest = block
    while rest:
        rest = rest[os.write(1, rest) :]
for _ in sys.stdin:
    pass
