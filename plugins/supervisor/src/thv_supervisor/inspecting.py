"""Run the MCP Inspector on this machine, with the user's own Node, wired to one workload.

Source: the Inspector's documentation of its environment variables, version 2. One process serves its user interface and
connects to the workload on behalf of the browser; on the second port it serves only what servers draw (MCP Apps).
"""

from __future__ import annotations

import collections
import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from thv_core.errors import PortUnavailable, StartFailed, ThvError, TimedOut, Unsupported

__all__ = ["INSPECTOR", "Inspection", "inspector"]

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
"""The package and the version that this was tried with."""

NODE = (22, 19)
"""The oldest Node that the Inspector runs on."""

HOST = "127.0.0.1"
TOKEN = "MCP_INSPECTOR_API_TOKEN"  # noqa: S105 - the name of a variable

PATIENCE = 180.0
"""Seconds in which the Inspector is downloaded, on its first use, and begins to serve."""

GRACE = 5.0
PAUSE = 0.1
LAST_LINES = 12


@dataclass(frozen=True)
class Inspection:
    """What is inspected, and on which ports of loopback the Inspector listens."""

    url: str
    transport: str
    ui_port: int
    proxy_port: int

    def arguments(self) -> tuple[str, ...]:
        """Return the arguments of ``npx``."""
        kind = "sse" if self.transport == "sse" else "http"
        wired = ("--web", "--transport", kind, "--server-url", self.url, "--protocol-era", "auto")
        return ("--yes", f"--package={INSPECTOR}", "--", "mcp-inspector", *wired)

    def variables(self, environment: Mapping[str, str], token: str) -> dict[str, str]:
        """Return the environment of the Inspector: the user's, and nothing in it that opens it to others."""
        kept = {name: value for name, value in environment.items() if name not in _OPENING}
        own = {
            "CLIENT_PORT": str(self.ui_port),
            "MCP_SANDBOX_PORT": str(self.proxy_port),
            "MCP_APP_ORIGIN_PORT": "0",
            "MCP_AUTO_OPEN_ENABLED": "false",
            "HOST": HOST,
            TOKEN: token,
        }
        # Without this, secrets typed into it may end in a plain file of the user's home.
        return {"MCP_INSPECTOR_SECRET_STORE": "memory", **kept, **own}

    def page(self, token: str) -> str:
        """Return the URL of the user interface."""
        return f"http://{HOST}:{self.ui_port}/?{TOKEN}={token}"


_OPENING = ("DANGEROUSLY_OMIT_AUTH", "ALLOWED_ORIGINS", "MCP_INSPECTOR_ALLOWED_HOSTS", "SERVER_PORT")


@contextmanager
def inspector(inspection: Inspection, environment: Mapping[str, str]) -> Generator[tuple[str, Callable[[], int]]]:
    """Run the Inspector while the block runs; yield the URL of its page, and what waits for its end.

    :raises Unsupported: when there is no Node that it runs on.
    :raises PortUnavailable: when a port is taken.
    :raises StartFailed: when it ends before it serves; the evidence is what it said.
    """
    npx = _npx(environment)
    for flag, port in (("--ui-port", inspection.ui_port), ("--mcp-proxy-port", inspection.proxy_port)):
        _must_be_free(flag, port)
    token = secrets.token_hex(32)
    process = subprocess.Popen(
        [npx, *inspection.arguments()],
        env=inspection.variables(environment, token),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    reader = threading.Thread(target=_drain, args=(process.stdout, last, token), daemon=True)
    reader.start()
    try:
        _until_serving(process, inspection.ui_port, last)
        yield inspection.page(token), process.wait
    finally:
        _end(process)
        reader.join(GRACE)


def _npx(environment: Mapping[str, str]) -> str:
    path = environment.get("PATH", os.defpath)
    node, npx = shutil.which("node", path=path), shutil.which("npx", path=path)
    wanted = ".".join(map(str, NODE))
    hint = f"Install Node {wanted} or newer, with npm:  https://nodejs.org   or use  thv mcp list tools"
    if node is None or npx is None:
        raise Unsupported(f"the inspector needs {'Node' if node is None else 'npx'}, which is not here", hint=hint)
    try:
        said = subprocess.run(
            [node, "--version"], env=dict(environment), capture_output=True, text=True, timeout=GRACE, check=False
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unsupported(f"{node} does not run", evidence=[str(error)], hint=hint) from None
    found = re.match(r"v(\d+)\.(\d+)", said)
    if not found or (int(found[1]), int(found[2])) < NODE:
        raise Unsupported(
            f"the inspector needs Node {wanted} or newer", evidence=[f"{node} is {said or 'no Node'}"], hint=hint
        )
    return npx


def _must_be_free(flag: str, port: int) -> None:
    with closing(socket.socket()) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise PortUnavailable(
                f"port {port} cannot be used: {error.strerror}", hint=f"Choose another with {flag}."
            ) from None


def _drain(output: IO[bytes], last: collections.deque[str], token: str) -> None:
    """Keep the last lines of what the Inspector says, without its token; a full pipe would stop it."""
    with output:
        for line in iter(lambda: output.readline(1 << 16), b""):
            if text := line.decode(errors="replace").rstrip().replace(token, "…"):
                last.append(text)


def _until_serving(process: subprocess.Popen[bytes], port: int, last: collections.deque[str]) -> None:
    ends = time.monotonic() + PATIENCE
    while not _is_serving(port):
        if process.poll() is not None:
            raise StartFailed("the inspector ended before it served", evidence=list(last), hint=f"npx {INSPECTOR}")
        if time.monotonic() > ends:
            raise TimedOut(f"the inspector did not serve within {PATIENCE:g} s", evidence=list(last))
        time.sleep(PAUSE)


def _is_serving(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection(HOST, port, timeout=GRACE)) as connection:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End every process of the Inspector's session: npx starts it below a shell."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    if process.poll() is None:
        raise ThvError("the inspector does not end", evidence=[f"pid {process.pid}"], hint=f"kill -9 {process.pid}")
