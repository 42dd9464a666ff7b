"""From inside a sandbox a server reaches exactly what its profile names, whatever program it uses; all is logged."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness import lab as addresses
from harness.clients import CLIENTS, node_clients, plain_socket, python, uv_client
from harness.home import Thv, wait_for
from harness.indexes import offer_npm, offer_python
from harness.lab import Lab
from harness.session import Session
from harness.users import USERS, User, user_of
from harness.wheels import wheel

STRICT = {"network": {"outbound": {"allow_host": ["example.test"]}}}
WIDE = [f"{each}.test" for each in ("example", "private", "loopback", "metadata", "shared", "mapped", "rebinding")]
RUN = "uvx://prober-mcp@1.0"
PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass
class Inside:
    """A user's thv on the machine of the test network."""

    user: User
    thv: Thv
    lab: Lab
    fetch: str
    sessions: dict[str, Session] = field(default_factory=dict)

    def start(self, name: str, *options: str, thv: Thv | None = None) -> str:
        """Run a server and open a session with it; return its name."""
        url = (thv or self.thv).ok("run", RUN, "--name", name, *options).strip()
        self.sessions[name] = Session(url, self.lab.machine.entered)
        return name

    def run(self, server: str, argv: list[str], **options: Any) -> dict[str, Any]:
        """Run a command inside a server's sandbox."""
        answer: dict[str, Any] = self.sessions[server].call("run", argv=argv, **options)
        return answer

    def prints(self, server: str, argv: list[str], **options: Any) -> str:
        """Run a command inside that must succeed, and return what it printed."""
        done = self.run(server, argv, **options)
        assert done["code"] == 0, done
        return str(done["out"])

    def log(self, server: str, *options: str) -> list[dict[str, Any]]:
        """Return what the log has of a server."""
        shown: list[dict[str, Any]] = json.loads(self.thv.ok("egress", "log", server, "--format", "json", *options))
        return shown


@pytest.fixture(scope="module", params=USERS)
def inside(request: pytest.FixtureRequest, lab: Lab, wheels: Path, trusted: Path) -> Iterator[Inside]:
    """A thv inside the test network, whose packages were prepared outside of it."""
    with user_of(request.param) as user:
        outside = user.thv(wheels)
        try:
            outside.ok("config", "set", "ca_certificate_path", str(trusted))
            outside.ok("run", RUN, "--name", "prepared")
            outside.ok("run", "uvx://mcp-server-fetch", "--name", "fetch")
            pinned = outside.view("fetch")["package"]
            outside.ok("rm", "prepared", "fetch")
        finally:
            outside.close()
        within = inside_of(lab, user, wheels)
        try:
            yield Inside(user, within, lab, pinned)
        finally:
            within.close()


def inside_of(lab: Lab, user: User, wheels: Path | None) -> Thv:
    """Return a user's thv on the machine of the test network, where the world's own proxies mean nothing."""
    thv = user.thv(wheels, *lab.machine.prefix)
    for name in PROXY:
        thv.environment.pop(name, None)
        thv.environment.pop(name.lower(), None)
    return thv


@pytest.fixture(scope="module")
def strict(inside: Inside, nodes: Path) -> str:
    """A server that may reach example.test and nothing else, and sees node and uv."""
    profile = inside.user.folder / "strict.json"
    profile.write_text(json.dumps(STRICT))
    tools = [f"--allow-read={path}" for path in (nodes, uv_client()[0])]
    return inside.start("strict", "--permission-profile", str(profile), *tools)


@pytest.fixture(scope="module")
def wide(inside: Inside) -> str:
    """A server that may reach several names."""
    hosts = (*WIDE, "redis.test:6379", "*.wild.test")
    return inside.start("wide", *(f"--allow-network={host}" for host in hosts))


# What the profile names is reached -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let example.test be a package index of both kinds that has ``tiny-package``."""
    folder = tmp_path_factory.mktemp("tiny")
    wheel(folder, "tiny-package", {"tiny_package.py": ""}, {})
    offer_python(lab.example, "tiny-package", list(folder.glob("*.whl")))
    manifest = {"name": "tiny-package", "version": "1.0.0", "description": "the page of example.test"}
    offer_npm(lab.example, "http://example.test", manifest, {})


@pytest.mark.parametrize("proxied", [False, True], ids=["transparent", "by proxy"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", [*CLIENTS, "node 20", "node 22", "npm"])
def test_a_client_reaches_the_allowed_name(
    inside: Inside, strict: str, tiny: None, nodes: Path, client: str, scheme: str, proxied: bool
) -> None:
    command = {**CLIENTS, **node_clients(nodes)}[client](f"{scheme}://example.test/")
    assert "the page of example.test" in inside.prints(strict, command, proxied=proxied)


@pytest.mark.parametrize("proxied", [False, True], ids=["transparent", "by proxy"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_uv_installs_from_the_allowed_name(inside: Inside, strict: str, tiny: None, scheme: str, proxied: bool) -> None:
    command = uv_client()[1](f"{scheme}://example.test/")
    inside.prints(strict, command, proxied=proxied)
    assert inside.lab.example.visited("/files/tiny_package")


REDIS = """
import socket
connection = socket.create_connection(("redis.test", 6379), timeout=10)
lines = connection.makefile("rb")
for command in (b"SET greeting hello", b"GET greeting"):
    connection.sendall(command + b"\\r\\n")
    print(lines.readline())
print(lines.readline())
"""


def test_a_protocol_that_is_not_http_works_on_a_named_port(inside: Inside, wide: str) -> None:
    assert inside.prints(wide, python(REDIS)).splitlines() == ["b'+OK\\r\\n'", "b'$5\\r\\n'", "b'hello\\r\\n'"]


def test_a_wildcard_allows_what_lies_below_it(inside: Inside, wide: str) -> None:
    inside.lab.names.known["deep.below.wild.test"] = [addresses.OTHER]
    assert "other.test" in inside.prints(wide, plain_socket("http://deep.below.wild.test/"))
    assert inside.run(wide, plain_socket("http://wild.test/"))["code"] != 0


# What it does not name is not ----------------------------------------------------------------------------------------

CONNECT = """
import socket, sys
family, kind, host, port = sys.argv[1:]
try:
    with socket.socket(getattr(socket, family), getattr(socket, kind)) as there:
        there.settimeout(3)
        there.connect((host, int(port)))
        there.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answer = there.makefile("rb").read()
    print("refused: empty" if not answer else f"reached: {answer}")
except OSError as error:
    print(f"refused: {error!r}")
"""
TUNNEL = """
import socket, sys
there = socket.create_connection(("127.0.0.1", 3128), timeout=10)
there.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\\r\\nhost: {sys.argv[1]}\\r\\n\\r\\n".encode())
status = there.recv(65536).decode().splitlines()[0]
print("reached:" if " 200" in status else "refused:", status)
"""
ICMP = """
import socket
for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
    try:
        with socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP) as there:
            there.settimeout(2)
            there.sendto(b"\\x08\\x00\\xf7\\xff\\x00\\x00\\x00\\x00", ("45.90.0.10", 0))
            print("reached:", there.recv(1000))
    except OSError as error:
        print(f"refused: {error!r}")
"""


def _tcp(host: str, port: int = 80, family: str = "AF_INET") -> list[str]:
    return python(CONNECT, family, "SOCK_STREAM", host, str(port))


def _udp(host: str, port: int, family: str = "AF_INET") -> list[str]:
    return python(CONNECT, family, "SOCK_DGRAM", host, str(port))


ATTEMPTS: dict[str, list[str]] = {
    "another name": _tcp("other.test"),
    "another name over TLS": _tcp("other.test", 443),
    "another name by the proxy": python(TUNNEL, "other.test:443"),
    "a name below the allowed one": _tcp("www.example.test"),
    "another port": _tcp("example.test", 8080),
    "another port by the proxy": python(TUNNEL, "example.test:8080"),
    "the address of the allowed name": _tcp(addresses.EXAMPLE),
    "the address of the allowed name by the proxy": python(TUNNEL, f"{addresses.EXAMPLE}:443"),
    "UDP to the allowed name": _udp("example.test", addresses.ECHO_PORT),
    "UDP to the allowed name on an allowed port": _udp("example.test", 443),
    "UDP to an address": _udp(addresses.EXAMPLE, addresses.ECHO_PORT),
    "the names of the machine": _udp(addresses.NAMES, 53),
    "ICMP": python(ICMP),
    "IPv6": _tcp(addresses.EXAMPLE_SIX, 80, "AF_INET6"),
    "IPv6 by name": _tcp("example.test", 80, "AF_INET6"),
    "IPv6 by the proxy": python(TUNNEL, f"[{addresses.EXAMPLE_SIX}]:80"),
    "the metadata address": _tcp(addresses.METADATA),
    "the metadata address by the proxy": python(TUNNEL, f"{addresses.METADATA}:80"),
    "the loopback of the machine": _tcp("127.0.0.1"),
    "the loopback of the machine by the proxy": python(TUNNEL, "127.0.0.1:80"),
    "the loopback of the machine in six": _tcp("::1", 80, "AF_INET6"),
    "the loopback of the machine, mapped, by the proxy": python(TUNNEL, "[::ffff:127.0.0.1]:80"),
    "the address of the machine": _tcp(addresses.MACHINE),
    "the LAN": _tcp(addresses.LAN),
    "the LAN by the proxy": python(TUNNEL, f"{addresses.LAN}:80"),
    "the machine's own proxy": _tcp(addresses.PARENT, 3128),
    "the real internet": _tcp("1.1.1.1", 443),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_else_is_reached(inside: Inside, strict: str, attempt: str) -> None:
    out = inside.prints(strict, ATTEMPTS[attempt])
    assert out.startswith("refused:")
    assert "reached:" not in out
    assert inside.lab.datagrams.received == []
    assert inside.lab.own.visits == []
    assert inside.lab.lan.visits == []


def test_another_workload_is_not_reached(inside: Inside, strict: str, wide: str) -> None:
    serving = "import http.server, socket; http.server.ThreadingHTTPServer(('', 8765), None).serve_forever()"
    silent = "stdin=-3, stdout=-3, stderr=-3, start_new_session=True"
    inside.prints(wide, python(f"import subprocess as s, sys; s.Popen([sys.executable, '-c', {serving!r}], {silent})"))
    wait_for(lambda: "Errno 111" not in inside.run(wide, _tcp("127.0.0.1", 8765))["out"])
    pool = inside.prints(wide, python("import socket; print(socket.gethostbyname('example.test'))")).strip()
    gateway = inside.thv.view(wide)["port"]
    for host, port in (("127.0.0.1", 8765), (pool, 8765), ("127.0.0.1", gateway), (pool, gateway)):
        assert inside.prints(strict, _tcp(host, port)).startswith("refused:"), (host, port)


@pytest.mark.parametrize("proxied", [False, True], ids=["transparent", "by proxy"])
@pytest.mark.parametrize("name", ["private", "loopback", "metadata", "shared", "mapped"])
def test_an_allowed_name_never_leads_to_a_private_address(inside: Inside, wide: str, name: str, proxied: bool) -> None:
    host = f"{name}.test"
    out = inside.prints(wide, python(TUNNEL, f"{host}:80") if proxied else _tcp(host))
    assert out.startswith("refused:")
    assert inside.lab.lan.visits == inside.lab.own.visits == []
    denied = wait_for(lambda: [each for each in inside.log(wide, "--denied") if each["host"] == host])
    assert denied[-1]["verdict"] == "denied"
    assert denied[-1]["reason"]


def test_a_name_that_leads_elsewhere_later_is_checked_when_it_is_dialled(inside: Inside, wide: str) -> None:
    known = inside.lab.names.known
    known["rebinding.test"] = [addresses.OTHER]
    held = "import socket, sys; print(socket.gethostbyname('rebinding.test'))"
    address = inside.prints(wide, python(held)).strip()
    assert "the page of other.test" in inside.prints(wide, _tcp(address))
    known["rebinding.test"] = [addresses.LAN]
    try:
        wait_for(lambda: inside.prints(wide, _tcp(address)).startswith("refused:"), 90)
        assert inside.prints(wide, _tcp("rebinding.test")).startswith("refused:")
    finally:
        known["rebinding.test"] = [addresses.OTHER]
    assert inside.lab.lan.visits == []


# All of it is in the log ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "host", "port", "verdict"),
    [
        (plain_socket("http://example.test/"), "example.test", 80, "allowed"),
        (_tcp("another.test"), "another.test", 0, "denied"),
        (python(TUNNEL, "elsewhere.test:443"), "elsewhere.test", 443, "denied"),
        (python(TUNNEL, "example.test:443"), "example.test", 443, "allowed"),
        (python(TUNNEL, f"{addresses.EXAMPLE}:8443"), addresses.EXAMPLE, 8443, "denied"),
    ],
    ids=["by name", "a refused look-up", "a refused tunnel", "a tunnel", "an address"],
)
def test_each_attempt_is_logged_with_its_tool_call(
    inside: Inside, strict: str, attempt: list[str], host: str, port: int, verdict: str
) -> None:
    began = time.time()
    inside.run(strict, attempt)

    def found() -> list[dict[str, Any]]:
        of_host = [each for each in inside.log(strict) if each["host"] == host and each["at"] >= began - 1]
        return [each for each in of_host if each.get("port", 0) == port and each["verdict"] == verdict]

    last = wait_for(found)[-1]
    assert last["workload"] == strict
    (call,) = last["calls"]
    assert (call["method"], call["name"]) == ("tools/call", "run")
    assert call["session"]


def test_the_log_says_the_bytes_the_rule_and_the_address_of_what_was_allowed(inside: Inside, strict: str) -> None:
    inside.prints(strict, CLIENTS["urllib"]("http://example.test/bytes?count=100000"))
    shown = wait_for(lambda: [each for each in inside.log(strict) if each.get("received", 0) >= 100000])[-1]
    assert shown["rule"] == "example.test"
    assert shown["address"] in (addresses.EXAMPLE, addresses.EXAMPLE_SIX)
    assert shown["sent"] > 0
    assert shown["seconds"] > 0


def test_the_log_and_the_report_speak_to_people(inside: Inside, strict: str) -> None:
    inside.run(strict, _tcp("another.test"))
    assert "another.test" in wait_for(lambda: inside.thv.ok("egress", "log", strict, "--denied"))
    for by in ("workload", "group", "host"):
        assert inside.thv.ok("egress", "report", "--by", by)
    assert "example.test" in inside.thv.ok("egress", "report", "--by", "host")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_fetch_server_returns_a_page_by_an_allowed_name(inside: Inside, fetch: str, scheme: str) -> None:
    assert "the page of example.test" in inside.thv.call(fetch, "fetch", url=f"{scheme}://example.test/")
    for host in ("other.test", addresses.EXAMPLE, addresses.LAN):
        arguments = json.dumps({"url": f"{scheme}://{host}/", "raw": True})
        assert "the page of" not in inside.thv("mcp", "call", fetch, "fetch", "--args", arguments).stdout
    assert inside.lab.lan.visits == []


@pytest.fixture(scope="module")
def fetch(inside: Inside) -> str:
    """The fetch server of PyPI, which may reach example.test."""
    inside.thv.ok("run", inside.fetch, "--name", "fetch", "--allow-network", "example.test")
    return "fetch"


def test_a_way_out_works_at_once_after_all_three_processes_were_killed(inside: Inside, strict: str) -> None:
    held = "import socket; print(socket.gethostbyname('example.test'))"
    address = inside.prints(strict, python(held)).strip()
    pid = inside.thv.view(strict)["pid"]
    children = [inside.thv.child(f"thv_supervisor.{each}") for each in ("control", "gateway_process")]
    for process in (inside.thv.supervisor(), *children):
        os.kill(process, signal.SIGKILL)
    inside.thv.ok("list")
    wait_for(lambda: inside.sessions[strict].call("pid"))
    assert "the page of example.test" in inside.prints(strict, plain_socket("http://example.test/"))
    assert inside.prints(strict, python(held)).strip() == address
    assert inside.prints(strict, _tcp(address)).startswith("reached:")
    assert inside.thv.view(strict)["pid"] == pid


def test_a_profile_is_explained_in_words(inside: Inside, strict: str) -> None:
    assert "example.test" in inside.thv.ok("profile", "explain", strict)


# The company's proxy, and who may come in ----------------------------------------------------------------------------


@pytest.fixture
def of_a_company(inside: Inside, wheels: Path) -> Thv:
    """The same thv, asked from a shell that names a company's proxy."""
    behind = inside_of(inside.lab, inside.user, wheels)
    behind.environment |= {"HTTPS_PROXY": inside.lab.parent.url, "HTTP_PROXY": inside.lab.parent.url}
    behind.environment["NO_PROXY"] = "other.test"
    return behind


@pytest.mark.parametrize("proxied", [False, True], ids=["transparent", "by proxy"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_parent_proxy_is_asked_with_its_password(
    inside: Inside, of_a_company: Thv, scheme: str, proxied: bool
) -> None:
    name = f"behind-{scheme}-{'proxied' if proxied else 'transparent'}"
    inside.start(name, "--allow-network=inner.test", "--allow-network=other.test", thv=of_a_company)
    try:
        fetched = inside.prints(name, CLIENTS["curl"](f"{scheme}://inner.test/"), proxied=proxied)
        assert "the page of example.test" in fetched
        assert f"inner.test:{ {'http': 80, 'https': 443}[scheme] }" in inside.lab.parent.asked
        assert "the page of other.test" in inside.prints(name, CLIENTS["curl"](f"{scheme}://other.test/"))
        assert not any(each.startswith("other.test") for each in inside.lab.parent.asked)
        through = wait_for(lambda: [each for each in inside.log(name) if each["host"] == "inner.test" and each["via"]])
        assert "word" not in json.dumps(through)
    finally:
        of_a_company.ok("rm", name)


def test_only_the_names_of_inbound_may_come_in(inside: Inside) -> None:
    profile = inside.user.folder / "inbound.json"
    profile.write_text(json.dumps({"network": {"inbound": {"allow_host": ["gateway.test"]}}}))
    url = inside.thv.ok("run", RUN, "--name", "inbound", "--permission-profile", str(profile)).strip()
    try:
        answers = {host: _status(inside, url, host) for host in ("gateway.test", "evil.test")}
        assert answers == {"gateway.test": "200", "evil.test": "403"}
    finally:
        inside.thv.ok("rm", "inbound")


def _status(inside: Inside, url: str, host: str) -> str:
    opening = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening})
    headers = ["content-type: application/json", "accept: application/json, text/event-stream", f"host: {host}"]
    flags = [flag for header in headers for flag in ("-H", header)]
    return inside.lab.machine.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *flags, "-d", message, url)
