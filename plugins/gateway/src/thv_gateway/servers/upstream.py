"""What a route asks of whatever its server speaks: one seam for pipes and for HTTP."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from thv_core.model.egress import CallInFlight
from thv_core.model.route import RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.eras.listens import Listens
from thv_gateway.messages.versions import Era
from thv_gateway.pipes.seats import Seats
from thv_gateway.process.outlets import Outlets
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.process.values import Values
from thv_gateway.servers.check import Check
from thv_gateway.servers.handshake import Handshake, Handshakes
from thv_gateway.sessions.asked import Asked
from thv_gateway.sessions.memory import Recollection
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.stages.chain import Arrival, Chain

__all__ = ["Endpoint", "Estate", "Flow", "Start", "Told", "Upstream", "start_of"]


@dataclass(frozen=True)
class Estate:
    """What a workload keeps across the incarnations of its server; ``prefix`` begins every id of this process.

    ``remember`` is called after each change of ``recollection``. ``listens`` are the streams of those who listen for
    changes without a session. ``values`` are those of the secrets that routes name. ``seats`` are processes that are
    each there for one session.
    """

    sessions: Sessions
    handshakes: Handshakes
    outlets: Outlets
    log: ProxyLog
    prefix: str
    recollection: Recollection
    remember: Callable[[], None]
    asked: Asked
    listens: Listens = field(default_factory=Listens)
    values: Values = field(default_factory=Values)
    seats: Seats = field(default_factory=Seats)


class Upstream(Protocol):
    """One incarnation of a server; ``state`` goes from starting to ready or failed, from ready to gone or hung."""

    @property
    def state(self) -> RouteState:
        """How far it is."""
        ...

    @property
    def reason(self) -> str:
        """Why it failed or is gone, as a sentence."""
        ...

    @property
    def eras(self) -> frozenset[Era]:
        """The eras that it speaks, as far as is known; clients of the other one are translated for."""
        ...

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of its tools."""
        ...

    @property
    def checked(self) -> Check | None:
        """The last ping that it answered."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know."""
        ...

    @property
    def handshake(self) -> Handshake:
        """What it said of itself."""
        ...

    @property
    def at_work(self) -> bool:
        """Whether a request of a client is in flight."""
        ...

    def in_flight(self) -> Sequence[CallInFlight]:
        """Return the first calls that it has not answered."""
        ...

    def end_streams(self) -> None:
        """End the streams of sessions; calls go on."""
        ...

    def close(self, reason: str) -> None:
        """Let go of the server without disturbing it; calls in flight end with an error."""
        ...


class Flow(Protocol):
    """An answer that comes in pieces."""

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Send the whole answer to the peer, head included, with every message through the chain."""
        ...


Told = Callable[[Reply | Coroutine[None, None, Reply | Flow]], None]
"""Takes an answer, or what has to be awaited for it."""

Start = Callable[[Arrival, Chain, Told], bool]
"""The ``start`` of an endpoint that has one: it begins to answer at once, without a task, and calls ``Told`` once,
later. It returns ``False``, and nothing has happened, when that cannot be, or the server does not know the session."""


def start_of(endpoint: Endpoint) -> Start:
    """Return the ``start`` of an endpoint, or one that never can."""
    start: Start = getattr(endpoint, "start", _never)
    return start


def _never(arrival: Arrival, chain: Chain, told: Told) -> bool:
    return False


class Endpoint(Protocol):
    """Answers the requests of one incarnation.

    Whoever has a request asks :meth:`owns`, :meth:`needs_server` and :meth:`knows` before it calls :meth:`answer`,
    without a turn of the event loop between.
    """

    @property
    def link(self) -> Upstream:
        """The incarnation."""
        ...

    def owns(self, arrival: Arrival) -> bool:
        """Tell whether this is about a call in flight here: an answer that the server waits for, or a cancellation."""
        ...

    def needs_server(self, arrival: Arrival) -> bool:
        """Tell whether the server has to be ready for this."""
        ...

    def knows(self, arrival: Arrival) -> bool:
        """Tell whether the server knows the session of this, or nobody does."""
        ...

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Open a session at the server for one of a former life; a reply says why that cannot be."""
        ...

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Answer a request that passed every stage of ``chain``."""
        ...

    def begin(self, former: Upstream) -> None:
        """Take over from a former life: the server is told what sessions asked that one for, once it is ready."""
        ...

    def recede(self) -> None:
        """Let sessions move on to another life, as far as nothing is lost by it; call it until none is left."""
        ...
