"""What a server sees: pure functions from a plan to the arguments of bubblewrap, its environment and its small files.

The order of the arguments is the order of the mounts, and bubblewrap makes every missing mount point itself; nothing is
therefore mounted beneath a folder that a server could write (GHSA-pxhw-h44j-8pfx).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from thv_core.errors import InvalidRequest
from thv_core.model.plan import DeploymentPlan
from thv_sandbox.targets import HOME, SHARED_MEMORY, Mount, memory_folders, mounts, new_folders

__all__ = ["ISOLATION", "Host", "arguments", "data_files", "environment"]

ISOLATION = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    *("--disable-userns", "--cap-drop", "ALL", "--new-session"),
)
"""The namespaces and privileges of every sandbox, also of the trial."""

_READABLE = (
    "/etc/ld.so.cache",
    # Not /etc/ssl and /etc/pki: beside the certificates lie private keys, which a server of root could read.
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/etc/crypto-policies/back-ends",
    "/etc/alternatives",
    "/etc/timezone",
)
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": HOME,
    "PWD": HOME,
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 - the server's own
    "USER": "mcp",
}
_EMPTY = 4096
_LOADER = ("LD_", "GLIBC_TUNABLES")
_PRIVATE = ("/tmp", HOME)  # noqa: S108 - the server's own


@dataclass(frozen=True)
class Host:
    """What the view depends on: as whom the server runs, and how the host lays out its system's entries.

    ``links`` maps the entries that are symbolic links to their targets, ``folders`` lists those that are not.
    ``hidden`` are folders below ``/usr`` that the server is to find empty.
    """

    uid: int
    gid: int
    links: Mapping[str, str]
    folders: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


def environment(plan: DeploymentPlan) -> dict[str, str]:
    """Return the whole environment of the server: the declared defaults, and the plan's own.

    :raises InvalidRequest: for a variable that the dynamic linker of bubblewrap itself would obey, outside the sandbox.
    """
    for name in plan.environment.values:
        if name.startswith(_LOADER):
            raise InvalidRequest(
                f"{name} cannot be given to a server in the sandbox: bubblewrap would obey it outside",
                hint="Set it in a wrapper script that the server's command runs.",
            )
    return {**_ENVIRONMENT, **plan.environment.values}


def data_files(plan: DeploymentPlan, host: Host) -> dict[str, bytes]:
    """Return the small files of the view that are ours, by path."""
    files = {
        "/etc/passwd": f"mcp:x:{host.uid}:{host.gid}:mcp:{HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "/etc/group": f"mcp:x:{host.gid}:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1 localhost {_hostname(plan)}\n::1 localhost\n",
        "/etc/resolv.conf": "nameserver 127.0.0.1\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    return {path: text.encode() for path, text in files.items()}


def arguments(
    plan: DeploymentPlan, host: Host, data: Mapping[str, int], sources: Mapping[str, int | str]
) -> tuple[str, ...]:
    """Return the arguments that make the view of ``plan``, without the command.

    :param data: for the path of each small file a descriptor with its content.
    :param sources: for the target of each mount the open descriptor of its source, or a path that nobody can exchange.
    """
    sizes = memory_folders(plan)
    return (
        *ISOLATION,
        *("--hostname", _hostname(plan)),
        *_system(host),
        *(word for path, number in data.items() for word in ("--ro-bind-data", str(number), path)),
        # Without any capability, the host's uid 0 may still write what root owns in /proc/sys, such as core_pattern.
        *("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"),
        *_in_memory(SHARED_MEMORY, sizes[SHARED_MEMORY]),
        *("--remount-ro", "/dev"),
        *(word for path in _PRIVATE for word in _in_memory(path, sizes[path])),
        *(word for mount in mounts(plan) for word in _bound(mount, sources[mount.target])),
        *(word for path, size in new_folders(plan).items() for word in _in_memory(path, size)),
        *("--chdir", HOME, "--remount-ro", "/"),
    )


def _system(host: Host) -> Iterable[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for path, target in host.links.items():
        yield from ("--symlink", target, path)
    for path in (*host.folders, *_READABLE):
        yield from ("--ro-bind-try", path, path)
    for path in host.hidden:
        yield from (*_in_memory(path, _EMPTY), "--remount-ro", path)


def _in_memory(path: str, size: int) -> tuple[str, ...]:
    return ("--size", str(size), "--tmpfs", path)


def _bound(mount: Mount, source: int | str) -> tuple[str, ...]:
    option = "--bind" if mount.writable else "--ro-bind"
    if isinstance(source, int):
        # Bubblewrap compares what it mounted with the descriptor, and ends when somebody exchanged it meanwhile.
        option += "-fd"
    return (option, str(source), mount.target)


def _hostname(plan: DeploymentPlan) -> str:
    return plan.deployment.workload[:63]
