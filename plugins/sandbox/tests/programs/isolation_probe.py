"""Runs inside a sandbox and writes what it could see and do to ``/out/report.json``; standard library only."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pwd
import resource
import socket
import sys
from pathlib import Path

LIBRARY = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
CLONE_NEWNS = 0x00020000
AF_VSOCK = 40


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


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def names(folder):
    try:
        return sorted(each.name for each in Path(folder).iterdir())
    except OSError as error:
        return errno.errorcode[error.errno]


def variables(path):
    return dict(entry.split("=", 1) for entry in Path(path).read_text().split("\0") if entry)


def descriptors(pid):
    folder = Path(f"/proc/{pid}/fd")
    found = {}
    for entry in folder.iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except OSError:
            continue
    return {name: target for name, target in found.items() if target != str(folder) and not target.startswith("/proc/")}


def writable(depth):
    """Return what can be written: folders up to ``depth`` in the view, and files of /proc that are nobody's own."""
    found = []
    for path, folders, files in os.walk("/"):
        parts = path.count("/") if path != "/" else 0
        if path.startswith(("/proc/", "/tmp/", "/home/mcp/")):
            folders[:] = []
            continue
        if os.access(path, os.W_OK) and can_create(path):
            found.append(path)
        found += [f"{path}/{name}" for name in files if path.startswith("/etc") and can_write(path, name)]
        if parts >= depth or path == "/proc":
            folders[:] = []
    return found


def can_create(folder):
    try:
        Path(folder, "created").touch()
    except OSError:
        return False
    Path(folder, "created").unlink()
    return True


def can_write(path, name):
    try:
        os.close(os.open(f"{path}/{name}", os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def writable_kernel_files():
    found = []
    for path, folders, files in os.walk("/proc"):
        if path == "/proc":
            folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self")]
        found += [f"{path}/{name}" for name in files if can_write(path, name)]
    return found


def filled(folder, megabytes):
    path = Path(folder, "filling")
    try:
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(b"x" * 1024 * 1024)
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        path.unlink(missing_ok=True)
    return "done"


def connection(address):
    return word(lambda: socket.create_connection(address, timeout=2).close())


def read(path):
    return word(lambda: Path(path).read_bytes())


def main():
    order = json.loads(sys.argv[1])
    self_status, first_status = status("self"), status(1)
    report = {
        "arguments": sys.argv[2:],
        "interfaces": [name for _, name in socket.if_nameindex()],
        "processes": [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()],
        "own_pid": os.getpid(),
        "status": {name: self_status[name] for name in self_status if name.startswith(("Cap", "NoNew", "Seccomp"))},
        "first_status": {name: first_status[name] for name in first_status if name.startswith(("Cap", "NoNew"))},
        "environment": dict(os.environ),
        "self_environment": variables("/proc/self/environ"),
        "first_environment": variables("/proc/1/environ"),
        "descriptors": descriptors("self"),
        "first_descriptors": descriptors(1),
        "mount": attempt("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "unshare_user": attempt("unshare", CLONE_NEWUSER),
        "unshare_mount": attempt("unshare", CLONE_NEWNS),
        "chroot": word(lambda: os.chroot("/tmp")),
        "remount": attempt("mount", b"none", b"/", b"none", 32, None),
        "vsock": word(lambda: socket.socket(AF_VSOCK).close()),
        "raw_socket": word(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()),
        "kill_parent_of_all": word(lambda: os.kill(order["host_pid"], 0)),
        "writable": writable(3),
        "writable_kernel_files": writable_kernel_files(),
        "top": names("/"),
        "listed": {folder: names(folder) for folder in order["folders"]},
        "read": {path: read(path) for path in order["files"]},
        "written": {path: word(lambda path=path: Path(path).write_text("x")) for path in order["write"]},
        "sizes": {path: os.statvfs(path).f_blocks * os.statvfs(path).f_frsize for path in order["private"]},
        "filled": {path: filled(path, 80) for path in order["private"]},
        "read_only": {path: bool(os.statvfs(path).f_flag & os.ST_RDONLY) for path in ("/", "/usr", "/dev", "/in")},
        "limits": {
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        },
        "host_service": connection(("127.0.0.1", order["host_port"])),
        "outside": connection(("192.0.2.1", 80)),
        "abstract": word(lambda: socket.socket(socket.AF_UNIX).connect("\0" + order["abstract"])),
        "hostname": socket.gethostname(),
        "localhost": socket.gethostbyname("localhost"),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "uid": os.getuid(),
        "home": str(Path.home()),
        "folder": str(Path.cwd()),
        "terminal": word(lambda: os.close(os.open("/dev/tty", os.O_RDWR))),
    }
    Path("/out/report.json").write_text(json.dumps(report))


main()
