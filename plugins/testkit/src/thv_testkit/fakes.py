"""Doubles that keep the contracts: each passes the conformance class of its kind. Tests use them instead of mocks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from thv_core.errors import InvalidRequest, PackageNotFound, PreparationFailed, SecretNotFound, Unavailable
from thv_core.spi import (
    Builder,
    PackageRoot,
    PackageSpec,
    Progress,
    SecretStore,
    ServerEntry,
    ServerSource,
    StoreCapabilities,
    WorkloadEvent,
    WorkloadObserver,
    Workshop,
)
from thv_testkit.fake_egress import FakeEgress, SocketlessEgress
from thv_testkit.fake_runtime import FakeRuntime
from thv_testkit.fake_workshop import UnisolatedWorkshop

__all__ = [
    "ECHO_PROGRAM",
    "FakeBuilder",
    "FakeClock",
    "FakeEgress",
    "FakeRuntime",
    "FakeSource",
    "MemoryStore",
    "RecordingObserver",
    "SocketlessEgress",
    "UnisolatedWorkshop",
    "echo_root",
]

ECHO_PROGRAM = Path(__file__).parent / "echo" / "__main__.py"
"""The echo server: run it with any Python interpreter, with or without ``-I -S``."""

PACKAGES = {"echo": ("1.0.0", "1.1.0"), "silent": ("1.0.0",), "empty": ("1.0.0",)}
"""What ``fake://`` offers, oldest version first; ``silent`` never answers and ``empty`` has nothing to run."""


def echo_root(*arguments: str) -> PackageRoot:
    """Return a root that runs the echo server with the interpreter that runs the test."""
    # Not the link of a virtual environment: whoever is isolated sees only what the interpreter itself needs.
    interpreter = str(Path(sys.executable).resolve())
    view = dict.fromkeys((sys.base_prefix, sys.base_exec_prefix, str(ECHO_PROGRAM.parent)))
    command = (interpreter, "-I", "-S", "-B", str(ECHO_PROGRAM), *arguments)
    return PackageRoot(path=str(ECHO_PROGRAM.parent.parent), command=command, view=tuple(view), packages=1)


class FakeClock:
    """A clock that stands still until it is told; call it as ``time.time`` is called."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    sleep = advance


class MemoryStore(SecretStore):
    """Keeps secrets in memory."""

    capabilities = StoreCapabilities(writable=True)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def get(self, name: str) -> str:
        """Return the value of a secret."""
        try:
            return self._values[name]
        except KeyError:
            raise SecretNotFound(f"there is no secret {name}", hint="Set it first.") from None

    def names(self) -> list[str]:
        """Return the names of all secrets, sorted."""
        return sorted(self._values)

    def set(self, name: str, value: str) -> None:
        """Store a value."""
        self._values[name] = value

    def delete(self, name: str) -> None:
        """Delete a secret."""
        self.get(name)
        self._values.pop(name, None)


class FakeSource(ServerSource):
    """Resolves ``fake://NAME[@VERSION]`` from a table; ``reachable`` false is an index that does not answer."""

    def __init__(self, packages: Mapping[str, tuple[str, ...]] | None = None, *, reachable: bool = True) -> None:
        self._packages = PACKAGES if packages is None else packages
        self._reachable = reachable

    def resolve(self, reference: str) -> ServerEntry:
        """Resolve a reference to the newest version, or to the exact one that it names."""
        scheme, _, package = reference.partition("://")
        name, at, version = package.partition("@")
        if scheme != "fake" or not name or (at and not version) or set(package) & set(" /@") - {"@"}:
            raise InvalidRequest(f"{reference!r} is not fake://NAME[@VERSION]")
        spec = PackageSpec(scheme="fake", name=name, version=version or self._newest(name))
        return ServerEntry(name=name, package=spec, origin="a fake")

    def _newest(self, name: str) -> str:
        if not self._reachable:
            raise Unavailable("the fake index does not answer", hint="Give an exact version.")
        if name not in self._packages:
            known = [each for each in self._packages if each[:1] == name[:1]]
            raise PackageNotFound(f"the fake index has no package {name}", hint=f"Did you mean {', '.join(known)}?")
        return self._packages[name][-1]


class FakeBuilder(Builder):
    """Prepares the packages of :class:`FakeSource`: ``echo`` is the echo server, run by this interpreter."""

    def __init__(self, packages: Mapping[str, tuple[str, ...]] | None = None, *, reachable: bool = True) -> None:
        self._packages = PACKAGES if packages is None else packages
        self._reachable = reachable
        self.built: list[PackageSpec] = []

    def build(self, package: PackageSpec, report: Callable[[Progress], None], workshop: Workshop) -> PackageRoot:
        """Return the root of a package; ``echo`` is prepared always, everything else only by a reachable index."""
        del workshop  # a fake runs no code of a package
        if package.name != "echo" and not self._reachable:
            raise Unavailable("the fake index does not answer")
        if package.version not in self._packages.get(package.name, ()):
            raise PackageNotFound(f"the fake index has no package {package.reference}")
        if package.name == "empty":
            raise PreparationFailed("empty offers no executable", evidence=["it has no entry point"])
        self.built.append(package)
        report(Progress(step="prepared", text="1 package"))
        return echo_root(*(("--silent",) if package.name == "silent" else ()))


class RecordingObserver(WorkloadObserver):
    """Remembers every event, in order."""

    def __init__(self) -> None:
        self.events: list[WorkloadEvent] = []

    def on_workload(self, event: WorkloadEvent) -> None:
        """Remember the event."""
        self.events.append(event)
