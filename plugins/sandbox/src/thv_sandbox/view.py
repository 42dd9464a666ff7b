"""What a server sees: pure functions from a plan to the arguments of bubblewrap, its environment and its small files.

The order of the arguments is the order of the mounts, and bubblewrap makes every missing mount point itself; nothing is
therefore mounted beneath a folder that a server could write (GHSA-pxhw-h44j-8pfx).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from thv_core.errors import InvalidRequest
from thv_core.model.plan import DeploymentPlan
from thv_core.model.profile import Grant

__all__ = [
    "HOME",
    "ISOLATION",
    "SYSTEM_ENTRIES",
    "Host",
    "arguments",
    "check_targets",
    "data_files",
    "environment",
    "within",
]

HOME = "/home/mcp"
"""The private home of every server."""

ISOLATION = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
    *("--disable-userns", "--cap-drop", "ALL", "--new-session"),
)
"""The namespaces and privileges of every sandbox, also of the trial."""

_PRIVATE_SIZE = str(64 * 1024 * 1024)
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
SYSTEM_ENTRIES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/localtime")
"""What a host has either as a link into ``/usr``, which is reproduced, or of its own, which is bound."""

_SYSTEM = ("/usr", *SYSTEM_ENTRIES[:-1], "/etc", "/proc", "/dev")
_PRIVATE = ("/tmp", HOME)  # noqa: S108 - the server's own
_VISIBLE = ("/usr", *SYSTEM_ENTRIES[:-1])
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": HOME,
    "PWD": HOME,
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 - the server's own
    "USER": "mcp",
}
_LOADER = ("LD_", "GLIBC_TUNABLES")


@dataclass(frozen=True)
class Host:
    """What the view depends on: whose servers they are, and how the host lays out :data:`SYSTEM_ENTRIES`.

    ``links`` maps the entries that are symbolic links to their targets, ``folders`` lists those that are not.
    """

    uid: int
    gid: int
    links: Mapping[str, str]
    folders: tuple[str, ...] = ()


def within(path: str, folder: str) -> bool:
    """Tell whether ``path`` is ``folder`` or lies beneath it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


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


def check_targets(plan: DeploymentPlan) -> None:
    """Check that no mount hides another one or the system's view.

    :raises InvalidRequest: naming the first that does.
    """
    seen = _package_paths(plan)
    for path in seen:
        _check_absolute(path)
        _check_system(path, "the package")
    for grant in plan.grants:
        _check_absolute(grant.target)
        _check_system(grant.target, "a grant")
        _check_package(grant.target, seen)
        _check_writable(grant, plan.grants)


def arguments(plan: DeploymentPlan, host: Host, data: Mapping[str, int], sources: Mapping[str, int]) -> tuple[str, ...]:
    """Return the arguments that make the view of ``plan``, without the command.

    :param data: for each path of :func:`data_files` a descriptor with its content.
    :param sources: for the target of each grant the open descriptor of its source.
    """
    return (
        *ISOLATION,
        *("--hostname", _hostname(plan)),
        *_system(host),
        *(word for path, number in data.items() for word in ("--ro-bind-data", str(number), path)),
        # Without any capability, the host's uid 0 may still write what root owns in /proc/sys, such as core_pattern.
        *("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"),
        *("--size", _PRIVATE_SIZE, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108 - the server's own
        *(word for path in _PRIVATE for word in ("--size", _PRIVATE_SIZE, "--tmpfs", path)),
        *(word for path in _package_paths(plan) for word in ("--ro-bind", path, path)),
        *_granted(plan.grants, sources),
        *("--chdir", HOME, "--remount-ro", "/"),
    )


def _system(host: Host) -> Iterable[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for path, target in host.links.items():
        yield from ("--symlink", target, path)
    for path in (*host.folders, *_READABLE):
        yield from ("--ro-bind-try", path, path)


def _granted(grants: Iterable[Grant], sources: Mapping[str, int]) -> Iterable[str]:
    for grant in sorted(grants, key=lambda each: each.target):
        # Bubblewrap compares what it mounted with the descriptor, and ends when somebody exchanged it meanwhile.
        yield from ("--bind-fd" if grant.writable else "--ro-bind-fd", str(sources[grant.target]), grant.target)


def _package_paths(plan: DeploymentPlan) -> tuple[str, ...]:
    """Return what the package needs, outermost only and without what the system's view shows anyway."""
    wanted = sorted({posixpath.normpath(path) for path in (plan.root.path, *plan.root.view)})
    needed: list[str] = []
    for path in wanted:
        if not any(within(path, folder) for folder in (*_VISIBLE, *needed)):
            needed.append(path)
    return tuple(needed)


def _hostname(plan: DeploymentPlan) -> str:
    return plan.deployment.workload[:63]


def _check_absolute(path: str) -> None:
    if not path.startswith("/") or posixpath.normpath(path) != path:
        raise InvalidRequest(f"{path!r} is not an absolute path in its shortest form")


def _check_system(path: str, what: str) -> None:
    hidden = [each for each in _SYSTEM if within(path, each) or within(each, path)]
    hidden += [each for each in _PRIVATE if within(each, path)]
    if hidden:
        raise InvalidRequest(
            f"{what} at {path} would hide {hidden[0]} from the server",
            hint="Show it elsewhere: HOST_PATH:/data",
        )


def _check_package(target: str, package: Iterable[str]) -> None:
    for path in package:
        if within(target, path) or within(path, target):
            raise InvalidRequest(
                f"a grant at {target} would hide the server's own package at {path}",
                hint="Show it elsewhere: HOST_PATH:/data",
            )


def _check_writable(grant: Grant, grants: Iterable[Grant]) -> None:
    for other in grants:
        if other.writable and other is not grant and within(grant.target, other.target):
            raise InvalidRequest(
                f"a grant at {grant.target} lies beneath {other.target}, which the server may write",
                hint="Grant folders that do not lie in each other, or show one of them elsewhere: HOST_PATH:/data",
            )
