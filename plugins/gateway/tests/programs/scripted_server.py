"""A server of a few lines that does what the gateway has to bear: reads a JSON script from its first argument.

``{"initialize": {...}}`` is the result of initialize, ``{"refuse": "..."}`` refuses it, ``{"noise": N}`` writes lines
that are not MCP, ``{"says": [...]}`` are raw lines that follow the handshake, and a call with the argument ``emit``
writes the given raw lines before it is answered.
"""

import json
import os
import sys

script = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
seen = []


def write(line):
    os.write(1, line.encode() + b"\n")


def result(request, value):
    write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}))


def call(request):
    arguments = request["params"].get("arguments", {})
    for line in arguments.get("emit", []):
        write(line)
    if request["params"]["name"] == "seen":
        result(request, {"content": [], "structuredContent": {"lines": seen}})
    elif request["params"]["name"] != "never":
        result(request, {"content": [{"type": "text", "text": "done"}]})


def listed(request):
    if "cursor" in request.get("params", {}):
        result(request, {"tools": [{"name": "second", "inputSchema": {}}]})
    else:
        result(request, {"tools": [{"name": "first", "inputSchema": {}}], "nextCursor": "2"})


def initialized(request):
    if "refuse" in script:
        write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": {"code": 1, "message": script["refuse"]}}))
        return
    standard = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}},
        "serverInfo": {"name": "scripted", "version": "1"},
    }
    result(request, standard | script.get("initialize", {}))


answers = {"initialize": initialized, "tools/list": listed, "tools/call": call}

for _ in range(script.get("noise", 0)):
    write("Listening\x07 for you")
for line in sys.stdin:
    seen.append(line.rstrip("\n"))
    if not line.strip() or script.get("silent"):
        continue
    try:
        message = json.loads(line)
    except ValueError:
        write("I do not understand")
        continue
    if message.get("method") == "notifications/initialized":
        for said in script.get("says", []):
            write(said)
    if "method" in message and "id" in message:
        answers.get(message["method"], lambda request: result(request, {}))(message)
