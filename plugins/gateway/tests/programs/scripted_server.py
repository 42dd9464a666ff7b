"""A server of a few lines that does what the gateway has to bear: reads a JSON script from its first argument.

``{"initialize": {...}}`` is the result of initialize, ``{"refuse": "..."}`` refuses it, ``{"noise": N}`` writes lines
that are not MCP, ``{"says": [...]}`` are raw lines that follow the handshake, and a call with the argument ``emit``
writes the given raw lines before it is answered. ``{"answers": {METHOD: RESULT or {"error": {...}}}}`` are answered as
they are. The tool ``climb`` tells of its progress. The tool ``ask`` sends the ``questions`` of its arguments, and is
answered when all of them have been.
"""

import json
import os
import sys

script = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
seen = []
waiting = []


def write(line):
    os.write(1, line.encode() + b"\n")


def result(request, value):
    write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}))


def call(request):
    arguments = request["params"].get("arguments", {})
    for line in arguments.get("emit", []):
        write(line)
    if request["params"]["name"] == "climb":
        token = request["params"].get("_meta", {}).get("progressToken")
        params = {"progressToken": token, "progress": 1}
        write(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
    if request["params"]["name"] == "ask":
        questions = arguments["questions"]
        waiting.append({"request": request, "open": {f"q{number}" for number in range(len(questions))}, "answers": {}})
        for number, question in enumerate(questions):
            write(json.dumps({"jsonrpc": "2.0", "id": f"q{number}", **question}))
    elif request["params"]["name"] == "seen":
        result(request, {"content": [], "structuredContent": {"lines": seen}})
    elif request["params"]["name"] != "never":
        result(request, {"content": [{"type": "text", "text": "done"}]})


def answered(response):
    for asking in waiting:
        if response["id"] in asking["open"]:
            asking["open"].remove(response["id"])
            asking["answers"][response["id"]] = response.get("result", response.get("error"))
            if not asking["open"]:
                waiting.remove(asking)
                result(asking["request"], {"content": [], "structuredContent": asking["answers"]})
            return


def scripted(request):
    answer = script["answers"][request["method"]]
    if "error" in answer:
        write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": answer["error"]}))
    else:
        result(request, answer)


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
answers |= dict.fromkeys(script.get("answers", {}), scripted)

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
    if "method" not in message:
        answered(message)
    elif "id" in message:
        answers.get(message["method"], lambda request: result(request, {}))(message)
