"""The files of deployments: ``STATE/WORKLOAD/GENERATION/``, all that is needed to find a server again.

A deployment exists when its directory does. Until its instance file says ``started`` its start was interrupted. The
lock of a workload serialises those who start and remove; it is not inherited, so it ends with its holder.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from thv_core.errors import InvalidDocument, InvalidRequest, TimedOut
from thv_core.model.document import Document, decode_document, encode_document
from thv_core.model.names import valid_name
from thv_core.model.plan import Deployment
from thv_core.spi.runtimes import Stdio
from thv_sandbox.processes import ProcessIdentity

__all__ = ["ALONE_SECONDS", "DeploymentFiles", "Instance", "Instances"]

ALONE_SECONDS = 2.0
"""How long the lock of the whole state is waited for, which nobody needs for more than a moment."""

_LOCK = "lock"
_STATUS_LIMIT = 64 * 1024
_LOCK_INTERVAL = 0.005
_OURS = 0o600
_NOTING = threading.Lock()


class Instance(Document, frozen=True, kw_only=True):
    """One started sandbox.

    ``server`` is the first process inside, whose end ends all the others; ``monitor`` is the bubblewrap outside, which
    records the exit code. Both are identities within the boot ``boot``. ``started`` is set after the release.
    ``memory`` is its limit in bytes, enforced by the control group ``group`` or, when ``watched``, by looking, also at
    the ``folders`` of its view that lie in memory. ``limits`` says of each limit how it is enforced.
    """

    deployment: Deployment
    boot: str
    server: ProcessIdentity
    monitor: ProcessIdentity
    started_at: float
    started: bool = False
    memory: int = 0
    watched: bool = False
    folders: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class DeploymentFiles:
    """The paths of one deployment."""

    directory: Path

    @property
    def stdin(self) -> Path:
        """The FIFO that the server reads."""
        return self.directory / "stdin"

    @property
    def stdout(self) -> Path:
        """The FIFO that the server writes."""
        return self.directory / "stdout"

    @property
    def gate(self) -> Path:
        """The FIFO on which a new sandbox waits for one byte; while it is open, a start is under way."""
        return self.directory / "gate"

    @property
    def log(self) -> Path:
        """What the server wrote to its standard error."""
        return self.directory / "stderr.log"

    @property
    def older_log(self) -> Path:
        """The part of the log that was moved aside when it grew too long."""
        return self.directory / "stderr.log.1"

    @property
    def status(self) -> Path:
        """The JSON lines that bubblewrap appends."""
        return self.directory / "status.json"

    @property
    def instance(self) -> Path:
        """The encoded :class:`Instance`."""
        return self.directory / "instance.json"

    @property
    def reader_lock(self) -> Path:
        """The file that the reader of ``stdout`` locks."""
        return self.directory / "reader.lock"

    @property
    def account(self) -> Path:
        """The uid as which the server runs."""
        return self.directory / "uid"

    @property
    def groups(self) -> Path:
        """The folders of its control groups, one a line, written before they are made."""
        return self.directory / "cgroups"

    @property
    def slowed(self) -> Path:
        """A mark that exists while the server's processes are stopped because they flood the log."""
        return self.directory / "slowed"

    @property
    def stdio(self) -> Stdio:
        """The paths that the gateway needs."""
        return Stdio(stdin=str(self.stdin), stdout=str(self.stdout), lock=str(self.reader_lock))

    @property
    def group_name(self) -> str:
        """The name of its control groups, which no deployment in another state directory has."""
        workload, generation = self.directory.parts[-2:]
        return f"{workload}.{generation}-{zlib.crc32(os.fsencode(self.directory)):08x}"

    def create(self) -> None:
        """Create the directory (0700), the FIFOs and the files (0600)."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for fifo in (self.stdin, self.stdout, self.gate):
            os.mkfifo(fifo, 0o600)
        for file in (self.log, self.status, self.reader_lock):
            file.touch(mode=0o600)

    def write(self, instance: Instance) -> None:
        """Replace the instance file atomically."""
        self._put(self.instance, encode_document(instance))

    def read(self) -> Instance | None:
        """Return the instance, or ``None`` when the start did not get that far."""
        try:
            return decode_document(self.instance.read_bytes(), Instance, str(self.instance))
        except (OSError, InvalidDocument):
            return None

    def give_streams(self, uid: int, gid: int) -> None:
        """Let the server's user open its own standard streams again, as programs do by ``/dev/stderr``."""
        if uid != os.getuid():
            for path in (self.stdin, self.stdout, self.log):
                os.chown(path, uid, gid)

    def reclaim(self) -> None:
        """Take back the modes of what the server holds open, and could have closed to us."""
        for path in (self.stdin, self.stdout, self.log):
            with suppress(OSError):
                if path.stat().st_mode & 0o777 != _OURS:
                    path.chmod(_OURS)

    def record_account(self, uid: int) -> None:
        """Keep the uid of the server."""
        self._put(self.account, str(uid).encode())

    def record_groups(self, folders: Iterable[Path]) -> None:
        """Keep which control groups are about to be made."""
        self._put(self.groups, "\n".join(map(str, folders)).encode())

    def control_groups(self) -> tuple[Path, ...]:
        """Return the control groups that were made, or nearly."""
        with suppress(OSError):
            return tuple(Path(line) for line in self.groups.read_text().splitlines())
        return ()

    def note(self, subject: str, sentence: str) -> None:
        """Keep what the user should know; a later sentence about the same subject takes its place."""
        with _NOTING:
            found = self._noted()
            if found.get(subject) != sentence:
                self._put(self._notes, json.dumps(found | {subject: sentence}).encode())

    def notes(self) -> tuple[str, ...]:
        """Return every note."""
        return tuple(self._noted().values())

    @property
    def _notes(self) -> Path:
        return self.directory / "notes.json"

    def _noted(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            return cast("dict[str, str]", json.loads(self._notes.read_bytes()))
        return {}

    def _put(self, file: Path, content: bytes) -> None:
        fresh = file.with_suffix(".fresh")
        # A directory that was deleted meanwhile needs no record any more.
        with suppress(FileNotFoundError):
            fresh.touch(mode=0o600)
            fresh.write_bytes(content)
            fresh.replace(file)

    def child_pid(self) -> int:
        """Return the pid of the first process inside that bubblewrap reported, or 0."""
        return self._reported("child-pid") or 0

    def exit_code(self) -> int | None:
        """Return the exit code that bubblewrap recorded, 128 and more for a signal."""
        return self._reported("exit-code")

    def _reported(self, key: str) -> int | None:
        try:
            with self.status.open("rb") as file:
                lines = file.read(_STATUS_LIMIT).splitlines()
        except OSError:
            return None
        return next((value for line in lines if (value := _number(line, key)) is not None), None)

    def delete(self) -> None:
        """Delete the directory; the instance file goes first, so that half a deletion is an interrupted start."""
        self.instance.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.directory)


class Instances:
    """All deployments below one state directory."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def files(self, deployment: Deployment) -> DeploymentFiles:
        """Return the paths of a deployment, which need not exist.

        :raises InvalidRequest: when its workload's name cannot be the name of a directory.
        """
        return DeploymentFiles(self._state / valid_name(deployment.workload) / str(deployment.generation))

    def deployments(self) -> Iterator[Deployment]:
        """Yield every deployment that has a directory, in order."""
        for workload in _entries(self._state):
            generations = [int(each) for each in _entries(self._state / workload) if each.isdecimal()]
            for generation in sorted(generations):
                with suppress(InvalidRequest):
                    yield Deployment(workload=valid_name(workload), generation=generation)

    def accounts(self) -> Iterator[tuple[str, int]]:
        """Yield the workload and the recorded uid of every deployment."""
        for deployment in self.deployments():
            with suppress(OSError, ValueError):
                yield deployment.workload, int(self.files(deployment).account.read_text())

    def identity_of(self, workload: str) -> Path:
        """Return what no other workload on this machine is called."""
        return self._state / workload

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the lock of the whole state, for a choice that depends on all deployments.

        :raises TimedOut: when another process holds it for too long.
        """
        descriptor = os.open(self._state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        deadline = time.monotonic() + ALONE_SECONDS
        try:
            while not _acquired(descriptor, self._state):
                if time.monotonic() >= deadline:
                    raise TimedOut("another process is busy with the sandboxes", hint="Try again in a moment.")
                time.sleep(_LOCK_INTERVAL)
            yield
        finally:
            os.close(descriptor)

    def abandoned(self, group_name: str) -> bool:
        """Tell whether a control group is one of a deployment here that no longer exists."""
        workload, _, generation = group_name.rpartition("-")[0].rpartition(".")
        files = DeploymentFiles(self._state / workload / generation)
        return bool(workload) and files.group_name == group_name and not files.directory.exists()

    def tidy(self) -> None:
        """Delete the folders of workloads without any deployment, unless somebody is about to start one."""
        for workload in _entries(self._state):
            if set(_entries(self._state / workload)) <= {_LOCK}:
                with suppress(TimedOut, InvalidRequest), self.locked(workload, 0.0):
                    pass

    @contextmanager
    def locked(self, workload: str, seconds: float) -> Generator[None]:
        """Hold the lock of a workload, waiting at most ``seconds`` for it; a directory left empty is deleted.

        :raises TimedOut: when another process holds it for so long.
        """
        directory = self._state / valid_name(workload)
        descriptor = _lock(directory, time.monotonic() + seconds)
        try:
            yield
        finally:
            if _entries(directory) == [_LOCK]:
                # Whoever waits for the deleted file notices that it is no longer the one at the path.
                (directory / _LOCK).unlink(missing_ok=True)
                with suppress(OSError):
                    directory.rmdir()
            os.close(descriptor)


def _entries(directory: Path) -> list[str]:
    try:
        return sorted(each.name for each in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _lock(directory: Path, deadline: float) -> int:
    while True:
        descriptor = _opened(directory)
        if descriptor is not None and _acquired(descriptor, directory / _LOCK):
            return descriptor
        if descriptor is not None:
            os.close(descriptor)
        if time.monotonic() >= deadline:
            raise TimedOut(f"another process is busy with {directory.name}", hint="Try again in a moment.")
        time.sleep(_LOCK_INTERVAL)


def _opened(directory: Path) -> int | None:
    # Whoever held the lock before may delete the folder at any moment in between; the caller tries again.
    with suppress(FileNotFoundError, FileExistsError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return None


def _acquired(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _number(line: bytes, key: str) -> int | None:
    try:
        value = cast("dict[str, object]", json.loads(line)).get(key)
    except ValueError:
        return None
    return value if isinstance(value, int) else None
