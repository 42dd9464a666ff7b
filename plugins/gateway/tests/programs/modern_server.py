"""A server on pipes that speaks the stateless era only: reads a JSON script from its first argument.

``{"discover": {...}}`` changes its answer to server/discover, ``{"mute": true}`` gives none, ``{"initialize": "..."}``
is the text with which it refuses initialize. ``{"listen": "refused" | "silent" | "short"}``: subscriptions are unknown,
are never acknowledged, or end as soon as they began.
"""

import json
import os
import sys

script = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
seen = []
listening = {}

META = "io.modelcontextprotocol/"
INFO = {META + "serverInfo": {"name": "modern", "version": "7"}}
KINDS = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}
DISCOVER = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {
        "completions": {},
        "extensions": {"com.example/more": {}},
        "logging": {},
        "prompts": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "tools": {"listChanged": True},
    },
    "instructions": "Be brief.",
    "ttlMs": 1000,
    "cacheScope": "public",
}


def write(message):
    os.write(1, json.dumps({"jsonrpc": "2.0"} | message).encode() + b"\n")


def result(request, value):
    write({"id": request["id"], "result": {"resultType": "complete", "_meta": INFO} | value})


def error(request, code, message, **more):
    write({"id": request["id"], "error": {"code": code, "message": message} | more})


def notify(method, **params):
    write({"method": method, "params": params})


def text(request, said):
    result(request, {"content": [{"type": "text", "text": said}]})


def tell(uri, method="notifications/resources/updated"):
    """Tell whoever listens, each by the name of its own subscription."""
    for identifier, chosen in listening.items():
        meta = {META + "subscriptionId": identifier}
        if method in KINDS and chosen.get(KINDS[method]):
            notify(method, _meta=meta)
        elif method not in KINDS and uri in chosen.get("resourceSubscriptions", ()):
            notify(method, uri=uri, _meta=meta)


def end(identifier):
    listening.pop(identifier)
    write({"id": identifier, "result": {"resultType": "complete", "_meta": {META + "subscriptionId": identifier}}})


def asking(request, requests, state):
    write({"id": request["id"], "result": {"resultType": "input_required", "inputRequests": requests, **state}})


def ask(request, arguments):
    """Ask for what the arguments say, and answer with what came back."""
    params = request["params"]
    if "inputResponses" not in params:
        asking(request, arguments["requests"], {"requestState": arguments.get("state", "a \u00e9 state")})
    else:
        came = {"responses": params["inputResponses"], "state": params.get("requestState")}
        result(request, {"content": [], "structuredContent": came})


def count(request, arguments):
    token = request["params"]["_meta"].get("progressToken")
    for step in range(arguments["steps"]):
        if token is not None:
            notify("notifications/progress", progressToken=token, progress=step + 1)
    text(request, "counted")


def log(request, arguments):
    level = request["params"]["_meta"].get(META + "logLevel")
    if level is not None:
        notify("notifications/message", level=level, data=arguments["text"])
    text(request, f"logged at {level}")


def change(request, arguments):
    tell(arguments.get("uri"), arguments.get("method", "notifications/resources/updated"))
    text(request, "changed")


def quit_listening(request, arguments):
    for identifier in list(listening):
        end(identifier)
    text(request, "ended")


def cancel_listening(request, arguments):
    for identifier in list(listening):
        listening.pop(identifier)
        notify("notifications/cancelled", requestId=identifier)
    text(request, "cancelled")


def garbage(request, arguments):
    for line in arguments["lines"]:
        os.write(1, line.replace("ID", json.dumps(request["id"])).encode() + b"\n")


def endless(request, arguments):
    asking(request, arguments.get("requests", {}), {"requestState": "again"})


tools = {
    "ask": ask,
    "cancel_listening": cancel_listening,
    "change": change,
    "count": count,
    "die": lambda request, arguments: os._exit(1),
    "end_listening": quit_listening,
    "endless": endless,
    "fail": lambda request, arguments: error(request, arguments["code"], "failed", data={"why": "asked to"}),
    "filters": lambda request, arguments: result(
        request, {"content": [], "structuredContent": {"filters": list(listening.values())}}
    ),
    "garbage": garbage,
    "log": log,
    "never": lambda request, arguments: None,
    "odd": lambda request, arguments: result(request, {"resultType": "odd"}),
    "seen": lambda request, arguments: result(request, {"content": [], "structuredContent": {"messages": seen}}),
}


def call(request):
    params = request["params"]
    tools[params["name"]](request, params.get("arguments", {}))


def listed(request):
    found = [{"name": name, "inputSchema": {"type": "object"}} for name in sorted(tools)]
    result(request, {"tools": found, "ttlMs": 5, "cacheScope": "public"})


def read(request):
    uri = request["params"]["uri"]
    if uri == "file:///known":
        result(request, {"contents": [{"uri": uri, "text": "it"}], "ttlMs": 0, "cacheScope": "private"})
    else:
        error(request, -32602, "Resource not found", data={"uri": uri})


def listen(request):
    kind = script.get("listen")
    if kind == "refused":
        error(request, -32601, "Method not found")
    elif kind != "silent":
        chosen = request["params"]["notifications"]
        listening[request["id"]] = chosen
        meta = {META + "subscriptionId": request["id"]}
        notify("notifications/subscriptions/acknowledged", notifications=chosen, _meta=meta)
        if kind == "short":
            end(request["id"])


def discover(request):
    if not script.get("mute"):
        result(request, DISCOVER | script.get("discover", {}))


answers = {
    "initialize": lambda request: error(request, -32022, script.get("initialize", "Unsupported protocol version")),
    "prompts/list": lambda request: result(request, {"prompts": [], "ttlMs": 5, "cacheScope": "public"}),
    "resources/read": read,
    "server/discover": discover,
    "subscriptions/listen": listen,
    "tools/call": call,
    "tools/list": listed,
}

for line in sys.stdin:
    if not line.strip():
        continue
    message = json.loads(line)
    seen.append(message)
    method = message.get("method")
    if method == "notifications/cancelled":
        listening.pop(message["params"]["requestId"], None)
    elif method != "initialize" and "id" in message and META + "protocolVersion" not in message["params"]["_meta"]:
        error(message, -32602, "No envelope")
    elif "id" in message:
        answers.get(method, lambda request: error(request, -32601, "Method not found"))(message)
