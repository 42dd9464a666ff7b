"""A hostile server: attacks, one by name or all quick ones, for so many seconds; what came of them is in ``/out``."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
import socket
import sys
import time
from pathlib import Path

LIBRARY = ctypes.CDLL(None, use_errno=True)
LIBRARY.mmap.restype = ctypes.c_void_p
LIBRARY.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
NUMBERS = {
    "x86_64": {"io_uring_setup": 425, "bpf": 321, "keyctl": 250, "perf_event_open": 298, "userfaultfd": 323},
    "aarch64": {"io_uring_setup": 425, "bpf": 280, "keyctl": 219, "perf_event_open": 241, "userfaultfd": 282},
}[platform.machine()]
CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x00020000, 0x40000000
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
AF_ALG, AF_PACKET, AF_VSOCK, AF_XDP = 38, 17, 40, 44
MEBIBYTE = 1 << 20


def word(call):
    """Call it and say ``done`` or the name of its error."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def attempt(name, *arguments):
    def call():
        if getattr(LIBRARY, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)

    return word(call)


def system_call(name):
    return attempt("syscall", NUMBERS[name], 0, 0, 0, 0, 0)


def foreign_environments():
    """Return what could be read of the environments of processes that are not this server's."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"THV_SECRET_OF_OURS" in text:
            found.append(folder.name)
    return found


def ptrace_of_all():
    pids = [int(each.name) for each in Path("/proc").glob("[0-9]*") if each.name != str(os.getpid())]
    return sorted({attempt("ptrace", kind, pid, 0, 0) for pid in pids for kind in (PTRACE_ATTACH, PTRACE_SEIZE)})


def signals_outside(host_pid):
    """Try to signal every process that may be signalled; only this sandbox's own are there."""
    return word(lambda: os.kill(host_pid, 0))


def socket_of(family, kind=socket.SOCK_STREAM, protocol=0):
    return word(lambda: socket.socket(family, kind, protocol).close())


def links_in_the_grant(outside):
    """Put links to what is outside into the writable grant, and follow them."""
    found = {}
    for number, target in enumerate((*outside, "/proc/1/root", "/proc/self/cwd/../../..", "../../../..")):
        link = Path(f"/out/link-{number}")
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        if number < len(outside):
            found[target] = word(link.read_bytes)
        else:
            found[target] = "done" if (link / "root" / ".profile").exists() else "ENOENT"
    return found


def runs_as_its_owner():
    """Make a file in the grant that would give whoever runs it outside the rights of its owner."""
    path = Path("/out/rights")
    path.touch()
    created = os.O_CREAT | os.O_WRONLY
    found = [word(lambda mode=mode: path.chmod(mode)) for mode in (0o4755, 0o2755)]
    found.append(word(lambda: os.close(os.open("/out/created", created, 0o4755))))
    found.append(word(lambda: os.mknod("/out/made", 0o104755)))
    return {*found}


def quick(order):
    return {
        "rights": sorted(runs_as_its_owner()),
        "environments": foreign_environments(),
        "ptrace": ptrace_of_all(),
        "signal": signals_outside(order["host_pid"]),
        "mount": attempt("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "bind": attempt("mount", b"/proc", b"/tmp", None, 4096, None),
        "unshare": [attempt("unshare", flag) for flag in (CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET)],
        "clone": attempt("syscall", CLONE, CLONE_NEWUSER | 17, 0, 0, 0, 0),
        "sockets": {
            name: socket_of(family) for name, family in (("alg", AF_ALG), ("vsock", AF_VSOCK), ("xdp", AF_XDP))
        },
        "packet": socket_of(AF_PACKET, socket.SOCK_RAW),
        "raw": socket_of(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "calls": {name: system_call(name) for name in NUMBERS},
        "root": word(lambda: os.setuid(0)),
        "device": word(lambda: os.mknod("/out/disk", 0o60666, os.makedev(8, 0))),
        "granted_device": word(lambda: Path("/out/null-device").read_bytes()),
        "written": {path: word(lambda path=path: Path(path).write_text("x")) for path in order["outside"]},
        "read": {path: word(Path(path).read_bytes) for path in order["outside"]},
        "links": links_in_the_grant(order["outside"]),
        "socket": word(lambda: socket.socket(socket.AF_UNIX).connect("/out/way-out")),
        "abstract": word(lambda: socket.socket(socket.AF_UNIX).connect("\0" + order["abstract"])),
        "priority": word(lambda: os.setpriority(os.PRIO_PROCESS, 0, -10)),
        "reserved_log": attempt("fallocate", 2, 0, ctypes.c_long(0), ctypes.c_long(64 * MEBIBYTE)),
    }


def escapes(order):
    until, rounds = time.monotonic() + order["seconds"], 0
    while True:
        report, rounds = quick(order), rounds + 1
        if time.monotonic() >= until:
            return {**report, "rounds": rounds}


def forks(order):
    until = time.monotonic() + order["seconds"]
    while time.monotonic() < until:
        try:
            os.fork()
        except OSError:
            # A bomb does not give up; this one gives the others a turn.
            time.sleep(0.001)


def allocates(order):
    kept = []
    while True:
        kept.append(bytearray(b"x") * (8 * MEBIBYTE))


def shares_memory(order):
    """Allocate memory that is nobody's own, in processes that end as soon as they filled it."""
    kept = []
    while True:
        area = mmap.mmap(-1, 8 * MEBIBYTE)
        area.write(b"x" * 8 * MEBIBYTE)
        kept.append(area)


def hides_memory(order):
    """Fill files that belong to no process."""
    kept = []
    while True:
        try:
            kept.append(os.memfd_create("hidden"))
        except OSError as error:
            return {"refused": errno.errorcode[error.errno]}
        os.write(kept[-1], b"x" * 8 * MEBIBYTE)


def piles_up(order):
    """Fill the buffers of ever more sockets, which belong to no process either."""
    until = time.monotonic() + order["seconds"] + 10
    while time.monotonic() < until:
        try:
            ends = socket.socketpair()
        except OSError:
            # This process has all that it may have; the next one goes on.
            try:
                if os.fork() == 0:
                    os.closerange(3, order["files"])
            except OSError:
                time.sleep(0.01)
            continue
        for end in ends:
            end.setblocking(False)
            while word(lambda end=end: end.send(b"x" * 65536)) == "done":
                pass
            end.detach()


def maps(order):
    """Use memory for nothing but page tables: of ever more areas, only one empty page is looked at."""
    while True:
        area = LIBRARY.mmap(0, 1 << 36, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, 0)
        LIBRARY.madvise(ctypes.c_void_p(area), ctypes.c_size_t(1 << 36), 15)
        for offset in range(0, 1 << 36, 1 << 21):
            ctypes.string_at(area + offset, 1)


def fills(order):
    """Fill every folder that can be written."""
    report = {}
    until = time.monotonic() + order["seconds"]
    for folder in ("/tmp", "/home/mcp", "/dev/shm"):
        count = 0
        try:
            while True:
                Path(folder, f"filling-{count}").write_bytes(b"x" * MEBIBYTE)
                count += 1
        except OSError as error:
            report[folder] = [errno.errorcode[error.errno], count]
    time.sleep(max(0, until - time.monotonic()))
    return report


def opens(order):
    kept, until = [], time.monotonic() + order["seconds"]
    while len(kept) < 100_000:
        try:
            kept.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            time.sleep(max(0, until - time.monotonic()))
            os.close(kept.pop())
            return {"error": errno.errorcode[error.errno], "opened": len(kept) + 1}
    return {"error": "", "opened": len(kept)}


def floods(order):
    block, until = b"x" * 127 + b"\n", time.monotonic() + order["seconds"]
    while time.monotonic() < until:
        os.write(2, block * 8192)
    return {}


ATTACKS = {
    each.__name__: each
    for each in (escapes, forks, allocates, shares_memory, hides_memory, piles_up, maps, fills, opens, floods)
}


def main():
    order = json.loads(sys.argv[1])
    report = ATTACKS[order["attack"]](order)
    if report is not None:
        Path("/out/report.json").write_text(json.dumps(report))


main()
