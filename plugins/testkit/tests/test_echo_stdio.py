import json
import re
import signal
import subprocess
import sys

import pytest

from thv_testkit.fakes import ECHO_PROGRAM

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
SLOW_TO_IMPORT = {
    "argcomplete",
    "asyncio",
    "dataclasses",
    "inspect",
    "http.server",
    "pathlib",
    "subprocess",
    "thv_core",
}


def call(name, number=1, meta=None, **arguments):
    params = {"name": name, "arguments": arguments, **({"_meta": meta} if meta else {})}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def text(answer):
    return answer["result"]["content"][0]["text"]


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_the_handshake_agrees_on_every_legacy_revision(start, version):
    answer = start().ask("initialize", {"protocolVersion": version})
    assert answer["result"]["protocolVersion"] == version


def test_the_handshake_offers_the_newest_legacy_revision_to_whoever_asks_for_another(start):
    answer = start().ask("initialize", {"protocolVersion": "1999-01-01"})
    assert answer["result"]["protocolVersion"] == "2025-11-25"


def test_a_modern_client_discovers_and_calls_without_a_handshake(start):
    client = start()
    found = client.ask("server/discover", {"_meta": MODERN})["result"]
    assert (found["resultType"], found["supportedVersions"]) == ("complete", ["2026-07-28"])
    client.send(call("echo", meta=MODERN, text="hello"))
    answer = client.receive()
    assert answer["result"]["resultType"] == "complete"
    assert text(answer) == "hello"


def test_both_eras_share_one_counter(start):
    client = start()
    client.send(call("count"), call("count", meta=MODERN))
    assert [client.receive()["result"]["structuredContent"]["count"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("era", "method", "code"), [("legacy", "server/discover", -32601), ("modern", "initialize", -32602)]
)
def test_a_server_of_one_era_refuses_the_other(start, era, method, code):
    answer = start("--era", era).ask(method, {"protocolVersion": "2025-11-25"})
    assert answer["error"]["code"] == code


def test_an_unknown_modern_revision_is_refused_with_the_known_one(start):
    meta = {**MODERN, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    error = start().ask("tools/list", {"_meta": meta})["error"]
    assert (error["code"], error["data"]) == (-32022, {"supported": ["2026-07-28"], "requested": "2030-01-01"})


def test_every_tool_is_listed_with_its_description_and_schema(start):
    tools = {tool["name"]: tool for tool in start().ask("tools/list")["result"]["tools"]}
    assert {"echo", "count", "sleep", "log", "ask", "environment", "crash"} <= set(tools)
    assert all(tool["description"] and tool["inputSchema"]["type"] == "object" for tool in tools.values())


def test_sleeping_reports_progress_and_lets_others_pass(start):
    client = start()
    client.send(call("sleep", 1, {"progressToken": "p"}, seconds=0.3, steps=3), call("echo", 2, text="meanwhile"))
    messages = [client.receive() for _ in range(5)]
    assert messages[0]["id"] == 2
    assert [each["params"]["progress"] for each in messages[1:4]] == [1, 2, 3]
    assert text(messages[4]) == "slept 0.3 seconds"


def test_a_cancelled_call_is_not_answered(start):
    client = start()
    client.send(call("sleep", 7, seconds=60))
    client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
    client.send(call("echo", 8, text="next"))
    assert client.receive()["id"] == 8
    assert client.is_silent()


def test_a_legacy_server_asks_its_client(start):
    client = start()
    client.send(call("ask"))
    question = client.receive()
    assert question["method"] == "elicitation/create"
    client.send({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "I"}}})
    assert client.receive()["result"]["structuredContent"]["content"] == {"name": "I"}


def test_a_modern_server_asks_by_its_result(start):
    client = start()
    client.send(call("ask", meta=MODERN))
    result = client.receive()["result"]
    assert (result["resultType"], result["requestState"]) == ("input_required", "asked")
    assert result["inputRequests"]["answer"]["method"] == "elicitation/create"
    retry = call("ask", 2, MODERN)
    retry["params"] |= {"inputResponses": {"answer": {"action": "decline"}}, "requestState": "asked"}
    client.send(retry)
    assert client.receive()["result"]["structuredContent"] == {"action": "decline"}


def test_a_modern_client_that_cannot_answer_is_not_asked(start):
    client = start()
    client.send(call("ask", meta=MODERN, kind="sampling"))
    assert client.receive()["error"]["code"] == -32021


def test_log_messages_come_before_the_result_and_in_the_modern_era_on_demand(start):
    client = start()
    client.send(call("log", 1, text="hello", times=2), call("log", 2, MODERN, text="hello"))
    messages = [client.receive() for _ in range(4)]
    assert [each.get("method") for each in messages] == ["notifications/message"] * 2 + [None, None]


@pytest.mark.parametrize("wrong", [call("echo"), call("sleep", seconds="long"), call("read", path="/no/such/file")])
def test_a_tool_that_fails_says_so_in_its_result(start, wrong):
    client = start()
    client.send(wrong)
    assert client.receive()["result"]["isError"]


def test_an_unknown_tool_and_an_unknown_method_are_errors(start):
    client = start()
    client.send(call("no-such-tool"))
    assert client.receive()["error"]["code"] == -32602
    assert client.ask("no/such/method")["error"]["code"] == -32601


def test_what_is_no_message_is_answered_and_survived(start):
    client = start()
    client.process.stdin.write(b'{"half written\n\n[]\n42\n{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}\n')
    assert [client.receive().get("error", {}).get("code") for _ in range(4)] == [-32700, -32600, -32600, None]


def test_crashing_ends_the_process_with_its_code(start):
    client = start()
    client.send(call("crash", code=7))
    assert client.process.wait(10) == 7


def test_exiting_at_once_leaves_a_line_on_standard_error(start):
    client = start("--exit", "3")
    assert client.process.wait(10) == 3
    assert b"exits with 3" in client.process.stderr.read()


def test_garbage_comes_first(start):
    client = start("--garbage", "2")
    assert [client.line() for _ in range(2)] == [b"this line is not JSON"] * 2
    assert client.ask("ping")["result"] == {}


def test_a_silent_server_answers_nothing(start):
    client = start("--silent")
    client.send(call("count"))
    assert client.is_silent()


def test_a_stubborn_server_ignores_sigterm(start):
    client = start("--stubborn")
    client.ask("ping")
    client.process.send_signal(signal.SIGTERM)
    assert client.ask("ping")["result"] == {}


def test_it_ends_with_its_standard_input(start):
    client = start()
    client.process.stdin.close()
    assert client.process.wait(10) == 0


def test_ten_thousand_calls_are_answered_in_order():
    lines = "".join(json.dumps(call("count", number)) + "\n" for number in range(10_000))
    command = [sys.executable, "-I", "-S", str(ECHO_PROGRAM)]
    run = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True)
    assert [json.loads(line)["id"] for line in run.stdout.splitlines()] == list(range(10_000))


def test_starting_imports_nothing_that_is_slow():
    command = [sys.executable, "-I", "-S", "-X", "importtime", str(ECHO_PROGRAM), "--stdio"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
    imported = set(re.findall(r"\|\s+([\w.]+)$", run.stderr, re.MULTILINE))
    assert "thv_testkit.echo.server" in imported
    assert not imported & SLOW_TO_IMPORT


def test_it_runs_as_a_module_too():
    command = [sys.executable, "-m", "thv_testkit.echo", "--stdio"]
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}) + "\n"
    run = subprocess.run(command, input=message, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(run.stdout)["result"] == {}
