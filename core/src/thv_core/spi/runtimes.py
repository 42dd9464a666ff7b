"""The contract of runtimes: start servers in isolation, find them again, and end them. Group ``thv.runtimes``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

from thv_core.errors import Unsupported
from thv_core.model.document import Document
from thv_core.model.events import Progress
from thv_core.model.network import Namespace
from thv_core.model.plan import Deployment, DeploymentPlan
from thv_core.spi.drivers import Driver

__all__ = ["Observed", "ObservedState", "Probe", "Runtime", "RuntimeCapabilities", "Stdio"]


class RuntimeCapabilities(Document, frozen=True, kw_only=True):
    """What a runtime offers; the kernel refuses a workload that needs more.

    ``network``: it gives each server a network namespace that the helper can enter. ``builds``: it runs the
    preparation of packages. ``limits``: it enforces the limits of a plan, or says which it does not.
    """

    packages: bool = False
    images: bool = False
    network: bool = False
    builds: bool = False
    limits: bool = False


class Probe(Document, frozen=True, kw_only=True):
    """Whether a runtime can isolate servers here: ``detail`` says what it uses or why not, ``hint`` what to do."""

    ready: bool
    detail: str
    hint: str = ""


class Stdio(Document, frozen=True, kw_only=True):
    """Where the gateway finds a server's standard input and output: paths of FIFOs, and of the lock of their reader."""

    stdin: str
    stdout: str
    lock: str


class ObservedState(StrEnum):
    """What a runtime sees of a deployment."""

    RUNNING = "running"
    EXITED = "exited"


class Observed(Document, frozen=True, kw_only=True):
    """One deployment as its runtime sees it; ``exit_code`` only when it exited and is known.

    ``limits`` says of each limit, in words, how it is enforced or that it is not (``memory 512 MiB (cgroup)``).
    ``notes`` says what its user should know: why it was ended, or that it writes more to its log than is kept.
    """

    deployment: Deployment
    state: ObservedState
    stdio: Stdio
    pid: int = 0
    started_at: float = 0.0
    exit_code: int | None = None
    limits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Runtime(Driver):
    """Runs servers in isolation.

    Control calls it in worker threads, never two calls for one workload at a time, but for a :meth:`stop` with a
    shorter grace while a longer one lasts. Every method is idempotent.
    A deployment outlives the process that started it; whoever comes back finds it through :meth:`observe`.
    """

    capabilities: RuntimeCapabilities

    @abstractmethod
    def probe(self) -> Probe:
        """Tell whether this runtime can isolate servers here. Never raises."""

    @abstractmethod
    def prepare(self, plan: DeploymentPlan, report: Callable[[Progress], None]) -> None:
        """Make ready whatever can be made ready before the start, reporting progress.

        :raises InvalidRequest: when a grant or a variable of the plan cannot be meant here.
        :raises Unsupported: when the plan needs what :attr:`capabilities` excludes.
        :raises RuntimeUnavailable: when this machine cannot isolate it; never run it unisolated.
        """

    @abstractmethod
    def deploy(self, plan: DeploymentPlan, connect: Callable[[Namespace], None]) -> Observed:
        """Start the server of ``plan``, or find it running: two calls for one deployment start one process.

        :param connect: makes the sockets of the server's network namespace. It is called once in each start of a plan
            that reaches out or has a port, when the namespace exists and before the server's first instruction; what
            it raises ends the start, and nothing is left.
        :raises Unsupported: as for :meth:`prepare`.
        :raises InvalidRequest: as for :meth:`prepare`.
        :raises RuntimeUnavailable: as for :meth:`prepare`.
        :raises StartFailed: when the process could not be started; nothing is left of it.
        :raises TimedOut: when another process keeps the deployment locked; also for :meth:`stop`, :meth:`remove`.
        """

    @abstractmethod
    def stop(self, deployment: Deployment, grace: float) -> None:
        """Ask the server to end, wait up to ``grace`` seconds, then kill all its processes; return when none is left.

        A second call with a shorter grace ends it then; both return soon after.

        Its exit stays observable until :meth:`remove`. An unknown deployment is no error.
        """

    @abstractmethod
    def remove(self, deployment: Deployment) -> None:
        """Kill what is left of a deployment and forget it, its files and its log. An unknown deployment is no error."""

    @abstractmethod
    def observe(self) -> Sequence[Observed]:
        """List every deployment that this runtime started for this user and that was not removed.

        A start that was interrupted before the server ran is cleaned up here and not listed.
        """

    def namespace(self, deployment: Deployment) -> Namespace:
        """Return the network namespace of a running deployment, to make its sockets anew.

        :raises NotFound: when it does not run.
        :raises Unsupported: when :attr:`capabilities` exclude ``network``; that is the default.
        """
        raise Unsupported(f"the runtime of {deployment.label} has no network namespaces to enter")

    @abstractmethod
    def logs(self, deployment: Deployment, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """Yield what the server wrote to its standard error, oldest first, in chunks of whole lines.

        :param tail: only the last so many lines.
        :param follow: go on until the deployment has exited or was removed; an empty chunk means nothing new yet.
        :raises NotFound: when there is no such deployment.
        """
