"""A test network: the machine on which thv runs, and around it a world of several hosts.

All of it lies in two network namespaces, joined by one wire. The world's addresses look public; nothing leaves it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import trustme

from harness.home import wait_for
from harness.namespaces import Namespace
from harness.parents import ParentProxy
from harness.sites import Datagrams, Names, Served, Site

MACHINE, MACHINE_LAN, MACHINE_SIX = "45.90.0.2", "192.168.77.2", "2a0d:5600::2"
ROUTER, NAMES, EXAMPLE, OTHER, INDEX, REDIS, PARENT = (f"45.90.0.{last}" for last in (1, 53, 10, 11, 12, 30, 80))
EXAMPLE_SIX = "2a0d:5600::10"
LAN, METADATA, SHARED = "192.168.77.9", "169.254.169.254", "100.64.0.9"
ECHO_PORT = 9999

KNOWN = {
    "example.test": [EXAMPLE, EXAMPLE_SIX],
    "other.test": [OTHER],
    "index.test": [INDEX],
    "redis.test": [REDIS],
    "parent.test": [PARENT],
    "private.test": [LAN],
    "loopback.test": ["127.0.0.1"],
    "metadata.test": [METADATA],
    "shared.test": [SHARED],
    "rebinding.test": [OTHER],
    "mapped.test": [f"::ffff:{LAN}"],
}
ONLY_OF_THE_PARENT = {"inner.test": EXAMPLE, "inner-index.test": INDEX}

_RESOLVING = {
    "/etc/resolv.conf": f"nameserver {NAMES}\noptions timeout:2 attempts:1\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}


class Lab:
    """The network; ``folder`` keeps a few files of it and must be readable by everyone."""

    def __init__(self, folder: Path) -> None:
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as failing:
            failing.callback(self._open.close)
            self._build(folder)
            failing.pop_all()

    def close(self) -> None:
        """End every server of it and let the namespaces go."""
        self._open.close()

    def _build(self, folder: Path) -> None:
        authority = trustme.CA()
        self.certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.certificate))
        self.certificate.chmod(0o644)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*KNOWN, *ONLY_OF_THE_PARENT).configure_cert(self._tls)
        self.world, self.machine = self._namespaces(folder)
        self._wire()
        self._populate(folder)

    def _namespaces(self, folder: Path) -> tuple[Namespace, Namespace]:
        shown = {}
        for path, text in _RESOLVING.items():
            shown[path] = folder / Path(path).name
            shown[path].write_text(text)
            shown[path].chmod(0o644)
        made = Namespace(), Namespace(shown)
        for each in made:
            self._open.callback(each.close)
        return made

    def _wire(self) -> None:
        self.world.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.machine.path)
        lan, rest = f"{LAN}/24", (f"{METADATA}/16", f"{SHARED}/10", f"{EXAMPLE_SIX}/64")
        hosts = [f"{each}/16" for each in (ROUTER, NAMES, EXAMPLE, OTHER, INDEX, REDIS, PARENT)]
        _addresses(self.world, *hosts, lan, *rest)
        _addresses(self.machine, f"{MACHINE}/16", f"{MACHINE_LAN}/24", "169.254.1.2/16", f"{MACHINE_SIX}/64")
        self.machine.run("ip", "route", "add", "default", "via", ROUTER)

    def _populate(self, folder: Path) -> None:
        self.example, self.other, self.index = Site("example.test"), Site("other.test"), Site("index.test")
        self.lan, self.own = Site("the LAN"), Site("the machine itself")
        with self.world.entered():
            for site, address in ((self.example, EXAMPLE), (self.other, OTHER), (self.index, INDEX)):
                self._serve(site, address)
            self._serve(self.example, EXAMPLE_SIX)
            self._keep(Served(self.example, EXAMPLE, 8080))
            for address in (LAN, METADATA, SHARED):
                self._serve(self.lan, address)
            self.names = Names(_datagram_socket(NAMES, 53), {name: list(each) for name, each in KNOWN.items()})
            self.datagrams = Datagrams(_datagram_socket(EXAMPLE, ECHO_PORT))
            self.parent = ParentProxy((PARENT, 3128), "worker", "pass word", self._dial)
        with self.machine.entered():
            self._serve(self.own, "0.0.0.0")
        for each in (self.names, self.datagrams, self.parent):
            self._keep(each)
        self._redis(folder)

    def _serve(self, site: Site, address: str) -> None:
        self._keep(Served(site, address, 80))
        self._keep(Served(site, address, 443, self._tls))

    def _keep(self, served: Served | Names | Datagrams | ParentProxy) -> None:
        self._open.callback(served.close)

    def _dial(self, host: str, port: int) -> socket.socket:
        with self.world.entered():
            return socket.create_connection((ONLY_OF_THE_PARENT.get(host) or KNOWN[host][0], port), timeout=10)

    def _redis(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is needed: apt-get install redis-server"
        quiet = ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir", str(folder)]
        process = subprocess.Popen(
            [*self.world.prefix, program, "--bind", REDIS, *quiet], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._open.callback(process.wait, 10)
        self._open.callback(process.terminate)
        wait_for(lambda: self._answers(REDIS, 6379))

    def _answers(self, address: str, port: int) -> bool:
        with self.machine.entered(), socket.create_connection((address, port), timeout=5):
            return True


def _addresses(namespace: Namespace, *addresses: str) -> None:
    for each in addresses:
        # An address of IPv6 may be used at once, without looking for another host that has it.
        nodad = ["nodad"] if ":" in each else []
        namespace.run("ip", "address", "add", each, "dev", "eth0", *nodad)
    namespace.run("ip", "link", "set", "eth0", "up")


def _datagram_socket(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made
