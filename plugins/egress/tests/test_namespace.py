"""In a network namespace of its own a program reaches what its profile names, and nothing else is there."""

import asyncio
import json
import os
import socket
import subprocess
import sys

import pytest

from thv_core.spi import MadeSocket, Network, Outbound, Outlet, SocketKind, Verdict, Way

INSIDE = r"""
import json, os, socket, subprocess, sys, tempfile, urllib.request
port, other = int(sys.argv[2]), int(sys.argv[3])
run = lambda *command: subprocess.run(command, check=True)
run("ip", "link", "set", "lo", "up")
run("ip", "address", "add", "11.254.0.1/32", "dev", "lo")
run("ip", "route", "replace", "local", "11.254.0.0/16", "dev", "lo", "src", "127.0.0.1")
with tempfile.NamedTemporaryFile("w") as file:
    file.write("nameserver 127.0.0.1\noptions attempts:1 timeout:5\n")
    file.flush()
    run("mount", "--bind", file.name, "/etc/resolv.conf")

def listening(address, at):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, at))
    sock.listen(128)
    return sock

udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 53))
made = [listening("127.0.0.1", 3128), listening("127.0.0.1", 53), udp]
made += [listening("0.0.0.0", each) for each in (port, other)]
control = socket.socket(fileno=int(sys.argv[1]))
socket.send_fds(control, [b"made"], [each.fileno() for each in made])
for each in made:
    each.close()
control.recv(1)

def attempt(*address, send=b"hello"):
    try:
        with socket.create_connection(address, timeout=10) as sock:
            sock.sendall(send)
            return sock.recv(100).decode()
    except socket.gaierror:
        return "no such name"
    except OSError as error:
        return error.strerror

def fetch(url, proxied):
    proxy = {"http": "http://127.0.0.1:3128"} if proxied else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxy))
    try:
        return opener.open(url, timeout=10).read().decode()
    except Exception as error:
        return str(error)

print(json.dumps({
    "a name": attempt("host.test", port),
    "its other port": attempt("host.test", other),
    "a name below": attempt("a.below.test", port),
    "a denied name": attempt("evil.test", port),
    "a private name": attempt("private.test", port),
    "an unused port": attempt("host.test", 81),
    "an address": attempt("1.1.1.1", port),
    "metadata": attempt("169.254.169.254", 80),
    "v6": attempt("2606:4700::1", port),
    "own loopback": attempt("127.0.0.1", port),
    "http": fetch(f"http://web.test:{port}/", proxied=False),
    "http by proxy": fetch(f"http://web.test:{port}/", proxied=True),
    "denied by proxy": fetch("http://evil.test/", proxied=True),
}))
"""

REQUIRED = os.environ.get("CI") == "true"


def in_a_namespace() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--net", "--mount", "ip", "link", "set", "lo", "up"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def received(control):
    _, descriptors, _, _ = socket.recv_fds(control, 100, 10)
    return [socket.socket(fileno=each) for each in descriptors]


async def shout_or_page(reader, writer):
    data = await reader.read(65536)
    if data.startswith(b"GET "):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\na page")
    else:
        writer.write(data.upper())


@pytest.mark.skipif(not REQUIRED and not in_a_namespace(), reason="this machine lets nobody make network namespaces")
def test_programs_in_a_namespace_reach_what_is_named_and_nothing_else(world, run):
    async def scene():
        async with world(pool="11.254.0.0/16") as here:
            port, other = await here.serve(shout_or_page), await here.serve()
            for name in ("host.test", "a.below.test", "web.test"):
                here.names[name] = ["127.0.0.1"]
            here.names["private.test"] = ["10.0.0.1"]
            hosts = ("host.test", ".below.test", "private.test", "web.test", "127.0.0.1")
            network = Network(outbound=Outbound(allow_host=tuple(f"{host}:{port}" for host in hosts)))
            ours, theirs = socket.socketpair()
            arguments = [sys.executable, "-c", INSIDE, str(theirs.fileno()), str(port), str(other)]
            process = await asyncio.create_subprocess_exec(
                *("unshare", "--user", "--map-root-user", "--net", "--mount", *arguments),
                stdout=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
            theirs.close()
            sockets = await asyncio.to_thread(received, ours)
            kinds = [(SocketKind.PROXY, 3128), (SocketKind.DNS_TCP, 53), (SocketKind.DNS_UDP, 53)]
            kinds += [(SocketKind.PORT, port), (SocketKind.PORT, other)]
            made = [MadeSocket(kind=kind, port=at) for kind, at in kinds]
            plan = here.egress.plan(network)
            pairs = tuple(zip(made, sockets, strict=True))
            here.outlets.append(here.egress.open(Outlet("fetch", "fetch.1", network, plan, pairs)))
            ours.send(b"!")
            output, _ = await process.communicate()
            ours.close()
            assert json.loads(output) == {
                "a name": "HELLO",
                "its other port": "Connection reset by peer",
                "a name below": "HELLO",
                "a denied name": "no such name",
                "a private name": "Connection reset by peer",
                "an unused port": "Connection refused",
                "an address": "Network is unreachable",
                "metadata": "Network is unreachable",
                "v6": "Network is unreachable",
                "own loopback": "Connection reset by peer",
                "http": "a page",
                "http by proxy": "a page",
                "denied by proxy": "HTTP Error 403: Forbidden",
            }
            records = await here.recorded(8)
            told = {(each.host, each.way, each.verdict) for each in records}
            assert told >= {
                ("host.test", Way.NAME, Verdict.ALLOWED),
                ("host.test", Way.NAME, Verdict.DENIED),
                ("a.below.test", Way.NAME, Verdict.ALLOWED),
                ("evil.test", Way.DNS, Verdict.DENIED),
                ("private.test", Way.NAME, Verdict.DENIED),
                ("web.test", Way.NAME, Verdict.ALLOWED),
                ("web.test", Way.HTTP, Verdict.ALLOWED),
                ("evil.test", Way.HTTP, Verdict.DENIED),
            }

    run(scene())
