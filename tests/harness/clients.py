"""Programs that fetch a URL from inside a sandbox, each in the way of its own kind, and print what they got."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from uv import find_uv_bin

Command = Callable[[str], list[str]]

_PLAIN = """
import socket, ssl, sys
scheme, host, port, path = sys.argv[1:]
connection = socket.create_connection((host, int(port)), timeout=10)
if scheme == "https":
    connection = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
connection.sendall(f"GET {path} HTTP/1.0\\r\\nhost: {host}\\r\\n\\r\\n".encode())
print(b"".join(iter(lambda: connection.recv(65536), b"")).decode())
"""
_URLLIB = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
_REQUESTS = "import sys, requests; print(requests.get(sys.argv[1], timeout=10).text)"
_HTTPX = "import sys, httpx; print(httpx.get(sys.argv[1], timeout=10).text)"
_AIOHTTP = """
import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession() as session, session.get(sys.argv[1]) as response:
        print(await response.text())
asyncio.run(main())
"""
_FETCH = (
    "fetch(process.argv[1]).then(a => a.text()).then(console.log, e => { console.error(e, e.cause); process.exit(1) })"
)


def python(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program with the Python of the sandboxed package."""
    return ["PYTHON", "-c", program, *arguments]


def plain_socket(url: str) -> list[str]:
    """Return the command that speaks HTTP on a socket and knows nothing of proxies."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return python(_PLAIN, parts.scheme, str(parts.hostname), str(port), parts.path or "/")


CLIENTS: dict[str, Command] = {
    "plain socket": plain_socket,
    "urllib": lambda url: python(_URLLIB, url),
    "requests": lambda url: python(_REQUESTS, url),
    "httpx": lambda url: python(_HTTPX, url),
    "aiohttp": lambda url: python(_AIOHTTP, url),
    "curl": lambda url: ["curl", "-sS", "-m", "10", url],
}


def node_clients(nodes: Path) -> dict[str, Command]:
    """Return the clients that need a folder with ``20`` and ``22``, in which npm installed node and npm."""
    twenty, newer = (str(nodes / version / "node_modules/node/bin/node") for version in ("20", "22"))
    npm = str(nodes / "22/node_modules/npm/bin/npm-cli.js")
    options = ["--cache=/tmp/npm", "--fetch-retries=0", "--no-update-notifier", "--fetch-timeout=10000"]
    return {
        "node 20": lambda url: [twenty, "-e", _FETCH, url],
        "node 22": lambda url: [newer, "-e", _FETCH, url],
        "npm": lambda url: [newer, npm, "view", "tiny-package", "description", f"--registry={url}", *options],
    }


def uv_client() -> tuple[Path, Command]:
    """Return uv, and the command with which it installs the package ``tiny-package`` from the index below a URL."""
    program = find_uv_bin()
    options = ["--no-cache", "--no-config", "--python", "PYTHON", "--target", "/tmp/tiny", "--reinstall"]
    return Path(program), lambda url: [
        *(program, "pip", "install", *options, "--index-url", f"{url.rstrip('/')}/simple/", "tiny-package", "-v")
    ]
