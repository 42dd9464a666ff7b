"""What the benchmark of the gateway is made of: an upstream that costs nothing, nginx beside it, and the load."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

UPSTREAM = r"""
import asyncio, re, sys
import uvloop

LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
RESULT = b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"%s"}]}}' % (b"x" * 250)
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
EVENT = b"event: message\r\ndata: " + RESULT + b"\r\n\r\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
ANSWER = JSON % (b"", len(RESULT), RESULT)
HELLO = b'"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}}'


class Upstream(asyncio.Protocol):
    held = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        data = self.held + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(data, 0, end)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(data) < size:
                break
            self.answer(data[: end + 4], data[end + 4 : size])
            data = data[size:]
        self.held = data

    def answer(self, head, body):
        if b'"tools/call"' in body:
            if head.startswith(b"POST /sse"):
                self.transport.write(STREAM + b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
                self.transport.write(b"0\r\n\r\n")
            else:
                self.transport.write(ANSWER)
        elif b'"initialize"' in body:
            id = re.search(rb'"id": *("[^"]*"|\d+)', body)[1]
            told = b'{"jsonrpc":"2.0","id":' + id + b"," + HELLO
            self.transport.write(JSON % (b"mcp-session-id: s\r\n", len(told), told))
        elif b'"id"' in body:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        elif head.startswith(b"GET"):
            self.transport.write(STREAM + b"9\r\n: hello\n\n\r\n")
        else:
            self.transport.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")


async def main():
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    print("listening", flush=True)
    await server.serve_forever()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 1000000000;
  upstream server {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering {buffering};
    }}
  }}
}}
"""

BODY = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"%s"}}}' % ("x" * 100)

SCRIPT = """
wrk.method = "POST"
wrk.body = '{body}'
wrk.headers["content-type"] = "application/json"
wrk.headers["accept"] = "application/json, text/event-stream"
wrk.headers["mcp-protocol-version"] = "2025-11-25"
{session}
"""

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Figures:
    """What one round of load showed; times are milliseconds but for CPU microseconds per request."""

    rate: float
    p50: float
    p99: float
    cpu: float
    errors: int


def processes(pid: int) -> list[int]:
    """Return a process and those that it has started."""
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [pid, *(each for child in children for each in processes(child))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and those that it has started have used."""
    stats = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in processes(pid)]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS


def pss_mib(pid: int) -> float:
    """Return the proportional share of memory of a process."""
    found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def peak_mib(pid: int, *, forget: bool = False) -> float:
    """Return the largest resident size so far, since the last time it was to be forgotten."""
    if forget:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def pin(pid: int, core: int) -> None:
    """Let a process, with those that it has started, run on one core only, when there is more than one."""
    if (os.cpu_count() or 1) > 1:
        for each in processes(pid):
            for thread in Path(f"/proc/{each}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})


@contextlib.contextmanager
def running(command: Sequence[str], core: int) -> Iterator[int]:
    """Run a program that says one line when it is ready, or nothing at all, and give its pid."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        pin(process.pid, core)
        assert process.stdout is not None
        if command[0] == sys.executable:
            process.stdout.readline()
        else:
            time.sleep(0.3)
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def nginx(folder: Path, port: int, upstream: int, *, buffering: bool) -> list[str] | None:
    """Return the command of an nginx in front of an upstream, or ``None`` without nginx."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        return None
    place = folder / f"nginx-{port}"
    place.mkdir()
    text = NGINX.format(folder=place, port=port, upstream=upstream, buffering="on" if buffering else "off")
    (place / "nginx.conf").write_text(text)
    return [program, "-p", str(place), "-c", str(place / "nginx.conf")]


def loaded(url: str, pid: int, folder: Path, connections: int, seconds: float, session: str = "") -> Figures:
    """Load a URL with wrk on the first core, and return what that showed of the process that answers."""
    line = f'wrk.headers["mcp-session-id"] = "{session}"' if session else ""
    script = folder / "load.lua"
    script.write_text(SCRIPT.format(body=BODY, session=line))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script), url]
    if (os.cpu_count() or 1) > 1:
        command = ["taskset", "-c", "0", *command]
    before = cpu_seconds(pid)
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = cpu_seconds(pid) - before
    count = _number(r"(\d+) requests in", text)
    errors = _number(r"Non-2xx or 3xx responses: (\d+)", text) + sum(
        map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    )
    return Figures(
        _number(r"Requests/sec: +([\d.]+)", text),
        _duration("50%", text),
        _duration("99%", text),
        spent / max(count, 1) * 1e6,
        int(errors),
    )


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


def _duration(share: str, text: str) -> float:
    found = re.search(rf"{share} +([\d.]+)(us|ms|s|m)\b", text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
