"""The addresses of one workload: each a way in with the stages that guard it."""

from __future__ import annotations

from collections.abc import Callable

from thv_core.spi.middleware import Reply, Stage
from thv_gateway.messages.answers import INTERNAL_ERROR, refusal
from thv_gateway.servers.life import Life
from thv_gateway.stages.chain import Arrival, BuiltIn, Chain
from thv_gateway.stages.origin import OriginStage, Own
from thv_gateway.web.app import Application
from thv_gateway.web.listeners import Address, Listener
from thv_gateway.web.reception import RETRY

__all__ = ["Door", "Doors", "Entry", "address_of"]


class _NotYet(BuiltIn):
    """Let nobody in: the listener is there so that no other program takes its port."""

    stage = Stage.ORIGIN

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 503."""
        return refusal(503, INTERNAL_ERROR, f"{exchange.workload} is not served here yet", headers=RETRY)


class Entry:
    """One way in; nobody comes in before :meth:`serve`.

    :param own: how this workload is named there.
    """

    def __init__(self, app: Application, own: Own) -> None:
        self.app = app
        self.life: Life | None = None
        self._own = own

    def move(self, own: Own) -> None:
        """Take note of another name."""
        if own != self._own:
            self._own = own
            if self.life is not None:
                self._guard(self.life)

    def shut(self) -> None:
        """Let nobody in any more."""
        self.life = None
        self.app.chain = _nobody()

    def serve(self, life: Life) -> None:
        """Guard it with the stages of a life from now on; requests that came in before end in those they entered."""
        if self.life is not life:
            self.life = life
            self._guard(life)

    def _guard(self, life: Life) -> None:
        route = life.route
        self.app.chain = life.chain(OriginStage(self._own, route.allow_host, route.terms.origins))


class Door(Entry):
    """One way in with a listener of its own."""

    def __init__(self, address: Address, app: Application, changed: Callable[[], None], *, shared: bool) -> None:
        super().__init__(app, Own(address.port, secure=bool(address.certificate), is_local=bool(address.socket)))
        self.listener = Listener(address, app, changed, shared=shared)


class Doors:
    """Every listener of one workload.

    ``common`` is the way in through the listener that all workloads share, ``inner`` that of other processes of this
    gateway.

    :param made: returns an application with a chain.
    :param changed: called when a listener is bound, or cannot be.
    :param several: whether other processes listen on the same ports.
    """

    def __init__(
        self, made: Callable[[Chain], Application], changed: Callable[[], None], *, several: bool = False
    ) -> None:
        self._made = made
        self._changed = changed
        self._several = several
        self.inner = Entry(made(_nobody()), Own(0, is_local=True))
        self.common = Entry(made(_nobody()), Own(0))
        self._open: dict[Address, Door] = {}
        self._left: list[Door] = []

    @property
    def busy(self) -> int:
        """How many requests are being answered."""
        return sum(door.app.busy for door in (self.common, self.inner, *self._open.values(), *self._left))

    def at(self, address: Address) -> Listener | None:
        """Return the listener on an address."""
        door = self._open.get(address)
        return door.listener if door is not None else None

    def arrange(self, current: Life, candidate: Life, *, lingering: bool) -> None:
        """Serve the current life on its address, and open that of the candidate, which may be the current one.

        :param lingering: whether addresses of former lives are served as long as calls are in flight to those.
        """
        wanted = {address_of(life) for life in (current, candidate) if life.refusal is None}
        places = {address.place for address in wanted}
        for address in self._open.keys() - wanted:
            door = self._open[address]
            stays = lingering and address.place not in places
            if stays and door.life is not None and current.refusal is None:
                door.serve(current)
            else:
                self._left.append(self._open.pop(address))
                door.listener.stop_accepting()
        for address in wanted - self._open.keys():
            self._open[address] = self._door(address)
        self._share()
        if current.refusal is None:
            self._open[address_of(current)].serve(current)
            self.common.serve(current)
            self.inner.serve(current)
        else:
            for entry in (self.common, self.inner, *self._open.values()):
                entry.shut()
        self._left = [door for door in self._left if door.listener.is_used]

    def drain(self) -> None:
        """Take no new connections, and refuse what comes on the open ones."""
        for door in (*self._open.values(), *self._left):
            door.listener.drain()

    def close(self) -> None:
        """Close everything at once."""
        for door in (*self._open.values(), *self._left):
            door.listener.close()
        self._open.clear()
        self._left.clear()

    def _door(self, address: Address) -> Door:
        shared = self._several or any(each.port == address.port for each in self._open)
        self._share(address.port)
        return Door(address, self._made(_nobody()), self._changed, shared=shared)

    def _share(self, *more: int) -> None:
        """Let the same port be bound on another host beside what is bound, while that is wanted and no longer."""
        ports = [*more, *(address.port for address in self._open)]
        for address, door in self._open.items():
            door.listener.share(wanted=self._several or ports.count(address.port) > 1)


def _nobody() -> Chain:
    return Chain([_NotYet()], lambda stage, error: None)


def address_of(life: Life) -> Address:
    """Return where a life is served."""
    route, terms = life.route, life.route.terms
    if terms.socket:
        return Address(socket=terms.socket)
    return Address(route.host, route.port, "", terms.tls_certificate, terms.tls_key)
