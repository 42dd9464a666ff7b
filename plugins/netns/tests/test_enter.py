"""The program in real sandboxes: what is made, what a server inside finds, and what is refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

POOL = "11.254.0.0/16"
WHOLE = {"pool": POOL, "ports": [80, 443], "proxy": 3128, "dns": 53, "connectors": 3}
LIMIT = 20.0


def accepted(listener: socket.socket) -> socket.socket:
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        else:
            connection.setblocking(True)
            connection.settimeout(LIMIT)
            return connection


def connecting(host: str, port: int) -> str:
    return f"socket.create_connection(({host!r}, {port}), 5).send(b'hello')"


def test_every_socket_of_a_plan_is_made_and_described_in_order(bench: Any, users: tuple[int, int]) -> None:
    answer = bench.made(bench.sandbox(users[0], held=True), users[1], **WHOLE)
    assert [(each["kind"], each["port"]) for each in answer.document["sockets"]] == [
        *(("proxy", 3128), ("dns-tcp", 53), ("port", 80), ("port", 443), ("dns-udp", 53)),
        *[("connector", 0)] * 3,
    ]
    assert len(answer.sockets) == 8
    assert not any(os.get_blocking(each.fileno()) for each in answer.sockets)


def test_a_server_reaches_listeners_at_any_address_of_the_pool_and_at_nothing_else(
    bench: Any, users: tuple[int, int]
) -> None:
    sandbox = bench.sandbox(users[0])
    answer = bench.made(sandbox, users[1], **WHOLE)
    for address, port in (("11.254.0.1", 80), ("11.254.200.7", 443), ("11.254.255.254", 80)):
        assert sandbox.run(connecting(address, port)) == 5
        with accepted(answer.of("port", port)) as connection:
            assert connection.getsockname() == (address, port)
            assert connection.recv(9) == b"hello"
    assert sandbox.run(connecting("127.0.0.1", 3128)) == 5
    with accepted(answer.of("proxy", 3128)) as connection:
        assert connection.recv(9) == b"hello"
    for address in ("1.1.1.1", "169.254.169.254", "10.0.0.1", "11.253.255.255", "11.255.0.0"):
        assert sandbox.run(connecting(address, 80)) == "OSError ENETUNREACH"
    assert sandbox.run(connecting("11.254.3.4", 25)) == "ConnectionRefusedError ECONNREFUSED"


def test_datagrams_to_the_resolver_arrive_and_are_answered(bench: Any, users: tuple[int, int]) -> None:
    sandbox = bench.sandbox(users[0])
    resolver = bench.made(sandbox, users[1], **WHOLE).of("dns-udp", 53)
    resolver.settimeout(LIMIT)
    sandbox.run("globals().update(asking=socket.socket(type=socket.SOCK_DGRAM))")
    sandbox.run("asking.settimeout(5)")
    assert sandbox.run("asking.sendto(b'who', ('127.0.0.1', 53))") == 3
    question, asking = resolver.recvfrom(99)
    resolver.sendto(question + b"?", asking)
    assert sandbox.run("asking.recv(99).decode()") == "who?"


def test_names_are_looked_up_because_loopback_has_an_address_of_the_pool(bench: Any, users: tuple[int, int]) -> None:
    sandbox = bench.sandbox(users[0])
    lookup = "socket.getaddrinfo('192.0.2.1', 80, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)[0][4]"
    bench.made(sandbox, users[1], **WHOLE)
    assert sandbox.run(lookup) == ["192.0.2.1", 80]
    routes = "open('/proc/net/fib_trie').read()"
    assert "11.254.0.1" in sandbox.run(routes)


def test_a_connector_reaches_the_servers_own_port(bench: Any, users: tuple[int, int]) -> None:
    sandbox = bench.sandbox(users[0])
    connector = bench.made(sandbox, users[1], connectors=1).of("connector")
    port = sandbox.run("globals().update(own=socket.create_server(('127.0.0.1', 0))) or own.getsockname()[1]")
    connector.settimeout(LIMIT)
    connector.connect(("127.0.0.1", port))
    assert sandbox.run("globals().update(one=own.accept()[0]) or one.send(b'inside')") == 6
    assert connector.recv(99) == b"inside"


def test_everything_can_be_made_again_when_the_first_is_closed(bench: Any, users: tuple[int, int]) -> None:
    sandbox = bench.sandbox(users[0])
    for each in bench.made(sandbox, users[1], **WHOLE).sockets:
        each.close()
    again = bench.made(sandbox, users[1], **WHOLE)
    assert sandbox.run(connecting("11.254.9.9", 80)) == 5
    with accepted(again.of("port", 80)) as connection:
        assert connection.recv(9) == b"hello"


def test_what_is_still_open_is_not_taken_over(bench: Any, users: tuple[int, int]) -> None:
    sandbox = bench.sandbox(users[0])
    bench.made(sandbox, users[1], **WHOLE)
    answer = bench.made(sandbox, users[1], **WHOLE)
    assert answer.document["errno"] == "EADDRINUSE"
    assert answer.sockets == []


def test_an_allowed_port_may_be_that_of_the_proxy_or_the_resolver(bench: Any, users: tuple[int, int]) -> None:
    sandbox = bench.sandbox(users[0])
    answer = bench.made(sandbox, users[1], **WHOLE | {"ports": [53, 3128]})
    for kind, address, port in (
        ("proxy", "127.0.0.1", 3128),
        ("port", "11.254.0.9", 3128),
        ("dns-tcp", "127.0.0.1", 53),
        ("port", "11.254.0.9", 53),
    ):
        assert sandbox.run(connecting(address, port)) == 5
        with accepted(answer.of(kind, port)) as connection:
            assert connection.getsockname() == (address, port)


def test_a_server_cannot_listen_where_the_pool_does(bench: Any, users: tuple[int, int]) -> None:
    sandbox = bench.sandbox(users[0])
    bench.made(sandbox, users[1], **WHOLE | {"ports": [8080]})
    assert sandbox.run("socket.create_server(('127.0.0.1', 8080))") == "OSError EADDRINUSE"


class Maker:
    """Makes a namespace, as bubblewrap does, and its loopback interface only when it is told to."""

    def __init__(self) -> None:
        steps = "read told; ip address add 127.0.0.1/8 dev lo && ip link set lo up && echo made; read ended"
        self.process = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", f"echo begun; {steps}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.read() == "begun\n"
        self.pid = self.process.pid
        self.start = int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[19])

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __enter__(self) -> Maker:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()


def test_whoever_makes_the_namespace_gets_to_make_its_loopback_interface_first(bench: Any) -> None:
    with Maker() as maker, ThreadPoolExecutor() as pool:
        answer = pool.submit(bench.made, maker, pool=POOL, ports=[80])
        with pytest.raises(TimeoutError):
            answer.result(0.3)
        maker.tell()
        assert maker.read() == "made\n"
        assert [each["kind"] for each in answer.result(LIMIT).document["sockets"]] == ["port"]


def test_a_loopback_interface_that_nobody_brings_up_is_brought_up(bench: Any) -> None:
    with Maker() as maker:
        assert "sockets" in bench.made(maker, pool=POOL, ports=[80]).document


def test_another_process_of_the_same_pid_is_refused(bench: Any) -> None:
    sandbox = bench.sandbox(os.getuid())
    answer = bench.entering().order(sandbox.pid, sandbox.start + 1, **WHOLE)
    assert answer.document == {"error": "gone", "errno": ""}


def test_a_process_that_has_ended_is_refused(bench: Any) -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    assert bench.entering().order(ended.pid, 1).document == {"error": "gone", "errno": ""}


def test_the_network_of_this_machine_is_never_changed(bench: Any) -> None:
    start = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    for plan in ({"pool": POOL}, {"ports": [80]}):
        answer = bench.entering().order(os.getpid(), start, **plan)
        assert "no network namespace of its own" in answer.document["error"]
        assert answer.sockets == []


def test_more_sockets_than_a_packet_carries_are_refused_before_any_is_made(bench: Any) -> None:
    sandbox = bench.sandbox(os.getuid())
    answer = bench.made(sandbox, ports=list(range(1000, 1200)), connectors=54)
    assert "more than 253 sockets" in answer.document["error"]
    assert len(bench.made(sandbox, ports=list(range(1000, 1200)), connectors=53).sockets) == 253


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else as well")
def test_a_user_cannot_enter_the_sandbox_of_another(bench: Any) -> None:
    sandbox = bench.sandbox(0)
    answer = bench.entering(47114).order(sandbox.pid, sandbox.start, **WHOLE)
    assert answer.document["errno"] in ("EACCES", "EPERM")
    assert answer.sockets == []


def test_it_ends_when_nobody_is_left_to_order(bench: Any) -> None:
    assert bench.entering().end() == 0


def test_it_imports_nothing_outside_the_standard_library() -> None:
    import thv_netns.enter

    code = f"import sys; sys.argv = ['x', '0']; exec(open({thv_netns.enter.__file__!r}).read(), {{'__name__': 'x'}})"
    listed = "import json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-E", "-c", f"{code}\n{listed}"], capture_output=True, check=True
    )
    assert not [name for name in json.loads(done.stdout) if name.startswith(("thv", "msgspec", "asyncio"))]
