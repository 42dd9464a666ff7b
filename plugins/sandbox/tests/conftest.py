"""Accounts, plans and programs that the tests of the sandbox share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

import thv_core
import thv_sandbox
from thv_core.spi import Deployment, DeploymentPlan, PackageRoot

PROGRAMS = Path(__file__).parent / "programs"
ORDINARY_UID = 47113
"""No account of it needs to exist: the kernel asks for none."""


@dataclass(frozen=True)
class Account:
    """A user as whom programs run, with a folder of its own and an interpreter that it may execute."""

    uid: int
    folder: Path
    interpreter: str

    def drive(self, action: str, plan: DeploymentPlan, **order: object) -> object:
        """Run one action of ``drive_sandbox.py`` and return its report."""
        whole = {"action": action, "folder": str(self.folder), "bubblewrap": "system", "plan": plan, **order}
        done = subprocess.run(
            [self.interpreter, str(PROGRAMS / "drive_sandbox.py")],
            input=msgspec.json.encode(whole),
            capture_output=True,
            env=program_environment(),
            **becoming(self.uid),
            cwd="/",
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)


def program_environment() -> dict[str, str]:
    """Return an environment in which a foreign interpreter finds our code and what it needs."""
    packages = (thv_core, thv_sandbox, msgspec)
    folders = [str(Path(str(package.__file__)).parents[1]) for package in packages]
    return {"PATH": os.defpath, "PYTHONPATH": ":".join(folders), "THV_SECRET_OF_OURS": "not yours"}


def becoming(uid: int) -> dict[str, object]:
    """Return what makes a subprocess run as ``uid``, which only root can ask for."""
    return {"user": uid, "group": uid, "extra_groups": []} if os.getuid() == 0 else {}


ACCOUNTS = ["root", "ordinary"] if os.getuid() == 0 else ["ordinary"]
"""Each kind of user that this test session can be."""

PlanMaker = Callable[..., DeploymentPlan]


@contextmanager
def account_of(kind: str) -> Iterator[Account]:
    """Hold an account with an empty folder of its own."""
    uid = os.getuid() if os.getuid() != 0 else {"root": 0, "ordinary": ORDINARY_UID}[kind]
    folder = Path(tempfile.mkdtemp(prefix="thv-sandbox-"))
    for name in ("state", "cache", "in", "out", "package"):
        (folder / name).mkdir(mode=0o700)
    # A server of root is another user.
    for name, mode in (("in", 0o755), ("out", 0o777), ("package", 0o755)):
        (folder / name).chmod(mode)
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, uid, uid)
    yield Account(uid=uid, folder=folder, interpreter=_interpreter(uid))
    shutil.rmtree(folder)


@pytest.fixture(params=ACCOUNTS)
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """Give each kind of user in turn."""
    with account_of(request.param) as found:
        yield found


@pytest.fixture
def ordinary() -> Iterator[Account]:
    """Give an ordinary user."""
    with account_of("ordinary") as found:
        yield found


@pytest.fixture(scope="module", params=[(kind, origin) for kind in ACCOUNTS for origin in ("system", "bundled")])
def shared_account(request: pytest.FixtureRequest) -> Iterator[tuple[Account, str]]:
    """Give each kind of user with each bubblewrap, once for all tests of a module."""
    kind, origin = request.param
    with account_of(kind) as found:
        yield found, origin


def _interpreter(uid: int) -> str:
    for candidate in (sys.executable, "/usr/bin/python3"):
        command = [candidate, "-c", "import msgspec, thv_sandbox.runtime"]
        try:
            done = subprocess.run(
                command, env=program_environment(), cwd="/", capture_output=True, check=False, **becoming(uid)
            )
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.fail(f"user {uid} can execute no interpreter that finds msgspec; install a Python of this version in /usr")


@pytest.fixture(scope="session")
def plan_of() -> PlanMaker:
    """Give what makes plans that run a Python program with the system's interpreter, which every view shows."""

    def make(account: Account, program: str, *arguments: str, **changes: object) -> DeploymentPlan:
        package = account.folder / "package"
        shutil.copy(PROGRAMS / program, package / program)
        (package / program).chmod(0o644)
        command = ("/usr/bin/python3", "-I", "-B", str(package / program), *arguments)
        root = PackageRoot(path=str(package), command=command)
        deployment = Deployment(workload=f"probe-{account.folder.name}", generation=1)
        plan = DeploymentPlan(deployment=deployment, command=command, root=root)
        return msgspec.structs.replace(plan, **changes)

    return make
