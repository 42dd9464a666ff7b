"""Whose server it is: for root another account, unprivileged and of its own; for an ordinary user, that user.

A server that root starts runs as the owner of its grants, so that it can use them and what it writes there belongs to
whom it should. Without such an owner it gets a uid that no account has: one for each workload, from a range, recorded
in the directory of the deployment, so that no two workloads share one at the same time.

Two states of root on one machine, which know nothing of each other, may choose the same uid, and servers with grants of
one owner have it on purpose. Then their namespaces still keep them apart: neither sees the other's processes, sockets
or private folders. What they share are folders that both were granted, and the kernel's quotas of a user (inotify,
pipes).
"""

from __future__ import annotations

import os
import pwd
import re
import stat
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from thv_core.errors import InvalidRequest, RuntimeUnavailable, SettingsError
from thv_core.model.plan import DeploymentPlan
from thv_core.model.profile import Grant
from thv_sandbox.instances import DeploymentFiles, Instances
from thv_sandbox.targets import within

__all__ = ["UID_RANGE", "Account", "Accounts", "check_access", "own_folders", "permitted", "uid_range"]

UID_RANGE = (2_000_000_000, 2_000_065_535)
"""The first and the last uid of servers without an owner; no distribution gives uids of this size to anybody."""

_ROOT = 0
_MOST_UIDS = 1 << 20
_ACL = "system.posix_acl_access"


@dataclass(frozen=True)
class Account:
    """The user and group as which a server runs."""

    uid: int
    gid: int

    @property
    def foreign(self) -> bool:
        """Whether this is not the user of this process."""
        return self.uid != os.getuid()

    @property
    def user(self) -> int | None:
        """The uid to change to, if that is needed."""
        return self.uid if self.foreign else None

    @property
    def group(self) -> int | None:
        """The gid to change to, if that is needed."""
        return self.gid if self.foreign else None

    @property
    def groups(self) -> tuple[int, ...] | None:
        """The supplementary groups to change to, if that is needed: none."""
        return () if self.foreign else None


class Accounts:
    """Chooses accounts for servers, and records them with their deployments."""

    def __init__(self, instances: Instances, uids: tuple[int, int] = UID_RANGE) -> None:
        """Take dedicated uids from ``uids``, the first and the last one."""
        self._instances = instances
        self._uids = uids

    def expected(self, plan: DeploymentPlan) -> Account:
        """Return the account that a start of ``plan`` would get now.

        :raises InvalidRequest: when its grants have several owners.
        :raises RuntimeUnavailable: when this machine knows none of the uids.
        """
        if os.getuid() != _ROOT:
            return self.anybody()
        return _owner(plan.grants) or self._dedicated(plan.deployment.workload)

    def anybody(self) -> Account:
        """Return an account to try a sandbox with.

        :raises RuntimeUnavailable: as for :meth:`expected`.
        """
        return self._dedicated("") if os.getuid() == _ROOT else Account(uid=os.getuid(), gid=os.getgid())

    def assigned(self, plan: DeploymentPlan, files: DeploymentFiles) -> Account:
        """Return the account of a start and record it in its directory, which exists.

        :raises InvalidRequest: as for :meth:`expected`.
        :raises RuntimeUnavailable: as for :meth:`expected`.
        """
        with self._instances.alone():
            account = self.expected(plan)
            files.record_account(account.uid)
        return account

    def _dedicated(self, workload: str) -> Account:
        taken = {uid for other, uid in self._instances.accounts() if other != workload}
        known = _mapped(Path("/proc/self/uid_map").read_text())
        first, last = self._uids
        wanted = zlib.crc32(str(self._instances.identity_of(workload)).encode()) % (last - first + 1)
        for step in range(last - first + 1):
            uid = first + (wanted + step) % (last - first + 1)
            if uid not in taken and any(uid in each for each in known) and not _somebody(uid):
                return Account(uid=uid, gid=uid)
        raise RuntimeUnavailable(
            f"no uid between {first} and {last} is free here for a server of root",
            hint="Set plugins.sandbox.uid_range to uids that this machine knows (/proc/self/uid_map), or run thv as an "
            "ordinary user.",
        )


def uid_range(text: str) -> tuple[int, int]:
    """Parse ``FIRST-LAST``; an empty text is :data:`UID_RANGE`.

    :raises SettingsError: when it is no range of uids, or includes root's.
    """
    if not text:
        return UID_RANGE
    match = re.fullmatch(r"([1-9]\d{0,9})-([1-9]\d{0,9})", text)
    # The last number is no uid: calls that change an owner take it for "leave it as it is".
    if match is None or not 0 <= int(match[2]) - int(match[1]) < _MOST_UIDS or int(match[2]) >= 2**32 - 1:
        raise SettingsError(
            f"uid_range {text!r} is not a range of uids",
            hint=f"Write FIRST-LAST with a million uids at most, such as {UID_RANGE[0]}-{UID_RANGE[1]}.",
        )
    return int(match[1]), int(match[2])


def permitted(status: os.stat_result, account: Account, wanted: int) -> bool:
    """Tell whether the mode of a file gives an account the access ``wanted``: 4 to read, 2 to write, 1 to search."""
    if status.st_uid == account.uid:
        shift = 6
    elif status.st_gid == account.gid:
        shift = 3
    else:
        shift = 0
    return (status.st_mode >> shift) & wanted == wanted


def check_access(plan: DeploymentPlan, account: Account) -> None:
    """Check that the account of a server can use what its plan shows it.

    :raises InvalidRequest: naming the first path that it cannot, and what to do.
    """
    if not account.foreign:
        return
    for grant in plan.grants:
        _check_grant(grant, account)
    # A workspace, and what lies in it, is given to the account.
    package = [
        path for path in (plan.root.path, *plan.root.view) if not any(within(path, each) for each in plan.workspaces)
    ]
    for path in package:
        if not _accessible(path, account, writable=False):
            raise InvalidRequest(
                f"the package needs {path}, which only its owner may read",
                evidence=[f"the server runs as uid {account.uid}, because root started it"],
                hint=f"Let everybody read it: chmod -R a+rX {path}",
            )


def own_folders(paths: tuple[str, ...], account: Account) -> None:
    """Give workspaces, and all that lies in them, to the account of the job that is to write them."""
    if account.foreign:
        for path in paths:
            _give(Path(path), account)


def _check_grant(grant: Grant, account: Account) -> None:
    if _accessible(grant.source, account, writable=grant.writable):
        return
    doing = "read and write" if grant.writable else "read"
    raise InvalidRequest(
        f"the server is granted {grant.source}, which it may not {doing} as uid {account.uid}",
        evidence=["root started this server, which does not run as root"],
        hint=f"Give the folder to the user that should own what the server does: chown -R USER {grant.source}; "
        f"or let everybody {doing} it: chmod -R a+{'rwX' if grant.writable else 'rX'} {grant.source}",
    )


def _accessible(path: str, account: Account, *, writable: bool) -> bool:
    status = Path(path).stat()
    with suppress(OSError):
        if _ACL in os.listxattr(path):
            # What an access control list says only the kernel can tell, and it will.
            return True
    search = 1 if stat.S_ISDIR(status.st_mode) else 0
    return permitted(status, account, 4 | search | (2 if writable else 0))


def _owner(grants: tuple[Grant, ...]) -> Account | None:
    """Return the account that owns the grants, leaving out what is root's own.

    :raises InvalidRequest: when there are several.
    """
    owners: dict[int, tuple[str, int]] = {}
    for grant in grants:
        status = Path(grant.source).stat()
        if status.st_uid != _ROOT:
            owners.setdefault(status.st_uid, (grant.source, status.st_gid))
    if len(owners) > 1:
        raise InvalidRequest(
            "the grants of one server belong to several users, and it can run as only one of them",
            evidence=[f"{source} belongs to uid {uid}" for uid, (source, _) in owners.items()],
            hint="Grant folders of one user, or run thv as that user.",
        )
    return next((Account(uid=uid, gid=_group(uid, gid)) for uid, (_, gid) in owners.items()), None)


def _group(uid: int, otherwise: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        # A folder of nobody's in the group of root must not make a server a member of it.
        return otherwise if otherwise != _ROOT else uid


def _somebody(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _mapped(uid_map: str) -> tuple[range, ...]:
    """Return the uids that this user namespace knows (user_namespaces(7))."""
    lines = [[int(word) for word in line.split()] for line in uid_map.splitlines()]
    return tuple(range(first, first + count) for first, _, count in lines)


def _give(folder: Path, account: Account) -> None:
    for _, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name, status in _entries(descriptor, (*folders, *files)).items():
            # A file with a second name may be one of a finished package as well.
            shared = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
            if status.st_uid != account.uid and not shared:
                os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)
        os.fchown(descriptor, account.uid, account.gid)


def _entries(descriptor: int, names: tuple[str, ...]) -> Mapping[str, os.stat_result]:
    return {name: os.stat(name, dir_fd=descriptor, follow_symlinks=False) for name in names}
