"""Make the sockets of one server inside its network namespace, hand them out and end: ``python -I -S -E enter.py FD``.

FD is a Unix socket of packets (``SOCK_SEQPACKET``) shared with whoever started this program, which may start it long
before it is needed: it waits for one request ``{"pid", "start", "plan"}``, whose plan has the keys of ``OutletPlan`` in
``thv_core.model.network``, and answers it with one packet. That is ``{"sockets": [{"kind", "port"}, ...]}`` with the
descriptors in the same order, or ``{"error", "errno"}``, where ``errno`` is a name such as ``EPERM`` or empty. When the
other end closes, nothing happens any more.

It needs no privilege beyond that of the user who owns the namespace, or of root. Each step may be done again after a
crash.

A listener on 0.0.0.0 takes every address of the pool, and that port from the server too. Nothing better was found:
bound to the interface ``lo`` it takes the port just the same, bound to the network or broadcast address of the pool it
hears nothing, a socket for each address would be 65 536 of them, and choosing by destination needs BPF, or a program
for netfilter.

Sources: setns(2), ioctl_ns(2), rtnetlink(7), unix(7).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import json
import os
import socket
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_DESCRIPTORS = 253
"""How many descriptors Linux passes in one packet (``SCM_MAX_FD``)."""

REQUEST_LIMIT = 1 << 20
BACKLOG = 512
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
NS_GET_USERNS = 0xB701
START_FIELD = 19
"""The start time among the fields of ``/proc/PID/stat`` that follow the command, proc_pid_stat(5)."""

RTM_NEWADDR, RTM_NEWROUTE = 20, 24
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
NLMSG_ERROR = 2
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
LOOPBACK_REQUEST = struct.pack("16sH22x", b"lo", 0)
RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL = 255, 3, 254, 2
RTA_DST, RTA_OIF, RTA_PREFSRC = 1, 4, 7
IFA_ADDRESS, IFA_LOCAL = 1, 2
LOOPBACK = "127.0.0.1"
OTHERS_TURN = 2.0
"""Seconds in which whoever made a namespace brings its loopback interface up."""


class Refused(Exception):
    """A request that is not acted upon; the text says why."""


def main(descriptor: int) -> None:
    """Answer one request on the socket ``descriptor``."""
    with socket.socket(fileno=descriptor) as connection:
        if request := connection.recv(REQUEST_LIMIT):
            answer(connection, json.loads(request))


def answer(connection: socket.socket, request: dict[str, Any]) -> None:
    """Do what is asked and send the sockets, or why there are none."""
    try:
        plan = request["plan"]
        enter(request["pid"], request["start"], bool(plan["pool"] or plan["ports"]))
        made = sockets(plan)
    except Refused as refusal:
        connection.send(json.dumps({"error": str(refusal), "errno": ""}).encode())
    except OSError as error:
        named = errno.errorcode.get(error.errno or 0, "")
        connection.send(json.dumps({"error": str(error), "errno": named}).encode())
    else:
        described = [{"kind": kind, "port": port} for kind, port, _ in made]
        socket.send_fds(connection, [json.dumps({"sockets": described}).encode()], [each.fileno() for *_, each in made])


def enter(pid: int, start: int, beyond: bool) -> None:
    """Join the network namespace of the process ``pid`` that started ``start`` clock ticks after the boot.

    :param beyond: whether more than loopback is to be taken there, which is never done where this program itself lives.
    """
    try:
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        found = started(pid)
    except (FileNotFoundError, ProcessLookupError):
        raise Refused("gone") from None
    # Only now: while the namespace is open it cannot become another one, whatever becomes of the pid.
    if found != start:
        raise Refused("gone")
    if same(network, "/proc/self/ns/net"):
        if beyond:
            raise Refused(f"process {pid} has no network namespace of its own")
        return
    owner = fcntl.ioctl(network, NS_GET_USERNS)
    if not same(owner, "/proc/self/ns/user"):
        join(owner, CLONE_NEWUSER)
    join(network, CLONE_NEWNET)


def started(pid: int) -> int:
    """Return when a process started, in clock ticks since the boot."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib takes its time to import
        return int(file.read().rpartition(")")[2].split()[START_FIELD])


def same(namespace: int, path: str) -> bool:
    """Tell whether an open namespace is the one at ``path``."""
    return os.path.samestat(os.fstat(namespace), os.stat(path))  # noqa: PTH116 - as above


def join(namespace: int, kind: int) -> None:
    """Make an open namespace that of this process."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(namespace, kind):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def sockets(plan: dict[str, Any]) -> list[tuple[str, int, socket.socket]]:
    """Return kind, port and socket of everything that ``plan`` names, in this namespace."""
    pool, proxy, dns = plan["pool"], plan["proxy"], plan["dns"]
    if pool:
        route(pool)
    listeners = [("proxy", LOOPBACK, proxy)] if proxy else []
    listeners += [("dns-tcp", LOOPBACK, dns)] if dns else []
    listeners += [("port", "0.0.0.0", port) for port in plan["ports"]]  # noqa: S104 - all addresses of the pool
    if len(listeners) + plan["connectors"] + bool(dns) > MOST_DESCRIPTORS:
        raise Refused(f"more than {MOST_DESCRIPTORS} sockets are needed")
    twice = {proxy, dns} & set(plan["ports"])
    made = [(kind, port, listener(address, port, port in twice)) for kind, address, port in listeners]
    made += [("dns-udp", dns, resolver(dns))] if dns else []
    made += [("connector", 0, socket.socket()) for _ in range(plan["connectors"])]
    for *_, each in made:
        each.setblocking(False)
    return made


def listener(address: str, port: int, shared: bool) -> socket.socket:
    """Return a listening TCP socket.

    :param shared: whether another one of ours listens on the same port of another address; the more exact one wins.
    """
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    made.listen(BACKLOG)
    return made


def resolver(port: int) -> socket.socket:
    """Return the UDP socket to which resolvers send."""
    made = socket.socket(type=socket.SOCK_DGRAM)
    made.bind((LOOPBACK, port))
    return made


def route(pool: str) -> None:
    """Let every address of ``pool`` lead to this namespace, and put one of them on its loopback interface.

    Without that one, ``getaddrinfo`` finds no address that is not loopback and answers nothing at all.
    """
    network = ipaddress.IPv4Network(pool)
    first = network[1 if network.num_addresses > 1 else 0].packed
    loopback = socket.if_nametoindex("lo")
    net = network.network_address.packed
    interface = struct.pack("=I", loopback)
    address = struct.pack("=4BI", socket.AF_INET, 32, 0, RT_SCOPE_HOST, loopback)
    local = (RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL)
    path = struct.pack("=8BI", socket.AF_INET, network.prefixlen, 0, 0, *local, 0)
    source = socket.inet_aton(LOOPBACK)
    raise_loopback()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as kernel:
        ask(kernel, RTM_NEWADDR, address + attribute(IFA_LOCAL, first) + attribute(IFA_ADDRESS, first))
        ask(
            kernel,
            RTM_NEWROUTE,
            path + attribute(RTA_DST, net) + attribute(RTA_OIF, interface) + attribute(RTA_PREFSRC, source),
        )


def raise_loopback() -> None:
    """Wait for whoever made the namespace to bring its loopback interface up, and do so when nobody does.

    To be first would end a bubblewrap that is about to do it: it then finds the address there that it wants to add.
    """
    deadline = time.monotonic() + OTHERS_TURN
    with socket.socket() as any_socket:
        while time.monotonic() < deadline:
            (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, SIOCGIFFLAGS, LOOPBACK_REQUEST), 16)
            if flags & IFF_UP:
                return
            time.sleep(0.001)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def attribute(kind: int, value: bytes) -> bytes:
    """Return a netlink attribute of four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value


def ask(kernel: socket.socket, kind: int, body: bytes) -> None:
    """Have the kernel make something, or find it made."""
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
    kernel.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    reply = kernel.recv(4096)
    (_, answered), (code,) = struct.unpack_from("=IH", reply), struct.unpack_from("=i", reply, 16)
    if answered != NLMSG_ERROR or code not in (0, -errno.EEXIST):
        raise OSError(-code, f"netlink: {os.strerror(-code)}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
