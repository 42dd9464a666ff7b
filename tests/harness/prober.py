"""An MCP server that runs whatever command it is given, for tests of what a sandbox withstands.

It is one module on the standard library, because a wheel is made of its text (see ``harness.wheels``).
"""

import json
import os
import subprocess
import sys
import threading

_writing = threading.Lock()


def run(argv: list[str], seconds: float = 20.0, proxied: bool = True) -> dict[str, object]:
    """Run a command (``PYTHON`` is our own) and return its exit code and the end of what it wrote.

    Without ``proxied`` it has no variable that names a proxy.
    """
    command = [sys.executable if word == "PYTHON" else word for word in argv]
    environment = {name: value for name, value in os.environ.items() if proxied or "proxy" not in name.lower()}
    shown = 20000
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            errors="replace",
        )
    except subprocess.TimeoutExpired as late:
        return {"code": "late", "out": str(late.stdout or b"")[-shown:], "err": str(late.stderr or b"")[-shown:]}
    except OSError as error:
        return {"code": "unable", "out": "", "err": str(error)}
    return {"code": done.returncode, "out": done.stdout[-shown:], "err": done.stderr[-shown:]}


def write(stream: str, count: int) -> dict[str, object]:
    """Write so many bytes without an end of line to ``stdout`` or ``stderr``."""
    with _writing if stream == "stdout" else threading.Lock():
        target = {"stdout": 1, "stderr": 2}[stream]
        while count > 0:
            count -= os.write(target, b"x" * min(count, 65536))
        os.write(target, b"\n")
    return {}


def pid() -> dict[str, object]:
    """Say who we are."""
    return {"pid": os.getpid(), "uid": os.getuid()}


TOOLS = {"run": run, "write": write, "pid": pid}
_ANY = {"type": "object"}


def _result(method: str, params: dict) -> dict[str, object]:
    if method == "initialize":
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "prober", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [{"name": name, "inputSchema": _ANY} for name in TOOLS]}
    if method == "tools/call":
        found = TOOLS[params["name"]](**params.get("arguments", {}))
        return {"content": [{"type": "text", "text": json.dumps(found)}]}
    return {}


def _answer(message: dict) -> None:
    try:
        answer = {"result": _result(message["method"], message.get("params") or {})}
    except Exception as error:
        answer = {"error": {"code": -32603, "message": repr(error)}}
    line = json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}) + "\n"
    with _writing:
        sys.stdout.write(line)
        sys.stdout.flush()


def main() -> None:
    """Answer each request of standard input in a thread of its own."""
    for line in sys.stdin:
        message = json.loads(line) if line.strip() else {}
        if "id" in message and "method" in message:
            threading.Thread(target=_answer, args=(message,)).start()


if __name__ == "__main__":
    main()
