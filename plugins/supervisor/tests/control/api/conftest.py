"""The application of a control, asked without a socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import pytest
from litestar.types import ASGIApp

from thv_core.errors import ThvError
from thv_core.model.egress import EgressRecord
from thv_core.model.network import OutletPlan
from thv_core.model.profile import Network
from thv_core.spi.egress import Egress, OpenOutlet, Outlet
from thv_supervisor.control import egress_reading
from thv_supervisor.control.api.application import control_api
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.installations import Installation
from thv_supervisor.wire import LISTENERS

LIMIT = 10.0


class Reply:
    """An answer of an ASGI application."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


class Caller:
    """Somebody who sends one request, reads the answer as it comes, and may hang up or take no more of it."""

    def __init__(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        path, _, query = target.partition("?")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": None,
            "server": ("control", 80),
        }
        self.reply = Reply()
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self.begun = asyncio.Event()
        self._pieces = [body]

    async def receive(self) -> dict[str, Any]:
        if self._pieces:
            return {"type": "http.request", "body": self._pieces.pop(), "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.takes.wait()
        if message["type"] == "http.response.start":
            self.reply.status = message["status"]
            self.reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        self.reply.body += message.get("body", b"")
        self.begun.set()
        if not message.get("more_body"):
            self.gone.set()

    def ask(self, app: Any) -> asyncio.Task[None]:
        """Send the request on this event loop."""
        return asyncio.create_task(app(self.scope, self.receive, self.send))


async def ask(app: Any, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
    """Send one request to an ASGI application, and return its whole answer."""
    caller = Caller(method, target, body, headers)
    await asyncio.wait_for(caller.ask(app), LIMIT)
    return caller.reply


class FakeSettlement:
    """Serves every caller, or refuses each with one error; remembers the headers."""

    def __init__(self) -> None:
        self.own = Installation(prefix="/venv", interpreter="/venv/bin/python", version="1.2", fingerprint="f")
        self.notice = ""
        self.refusal: ThvError | None = None
        self.headers: list[str | None] = []
        self.networks: list[Mapping[str, str] | None] = []
        self.objection: ThvError | None = None

    def adopt_network(self, wanted: Mapping[str, str] | None) -> None:
        self.networks.append(wanted)
        if self.objection:
            raise self.objection

    def settle(self, header: str | None) -> str:
        self.headers.append(header)
        if self.refusal:
            raise self.refusal
        return self.notice


class Ledger(Egress):
    """Batches of records that a test writes down; following it yields an empty batch whenever nothing is new."""

    def __init__(self) -> None:
        self.batches: list[list[EgressRecord]] = []
        self.looks = 0
        self.ended = False
        self.damage: Exception | None = None

    def plan(self, network: Network) -> OutletPlan:
        raise NotImplementedError

    def open(self, outlet: Outlet) -> OpenOutlet:
        raise NotImplementedError

    def records(self, *, workload: str = "", follow: bool = False) -> Iterator[Sequence[EgressRecord]]:
        at = 0
        try:
            while follow or at < len(self.batches):
                if at == len(self.batches):
                    self.looks += 1
                    yield []
                    continue
                at += 1
                yield [each for each in self.batches[at - 1] if workload in ("", each.workload)]
            if self.damage:
                raise self.damage
        finally:
            self.ended = True


@pytest.fixture
def ledger(rig: Any, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(egress_reading, "PAUSE", 0.005)
    ledger = Ledger()
    rig.drivers.handed[Egress, "names"] = ledger
    return ledger


@pytest.fixture
def asked() -> Callable[..., Awaitable[Reply]]:
    """Send a request to the application of a control."""
    return ask


@pytest.fixture
def caller() -> type[Caller]:
    """Send a request whose answer goes on."""
    return Caller


@pytest.fixture
def settlement() -> FakeSettlement:
    return FakeSettlement()


@pytest.fixture
def play(rig: Any, settlement: FakeSettlement) -> Callable[..., None]:
    """Play a story with the application of a control."""

    def played(story: Callable[[ASGIApp, Reconciler], Awaitable[None]]) -> None:
        async def once() -> None:
            async with rig.control() as control:
                await story(control_api(control, settlement).application, control)

        asyncio.run(once())

    return played


class Served:
    """A control with its application in a thread of its own, and listeners of it on TCP."""

    def __init__(self, rig: Any, settlement: FakeSettlement) -> None:
        self._rig = rig
        self._settlement = settlement
        self._begun = threading.Event()
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._begun.wait(LIMIT)
        return self

    def __exit__(self, *failure: object) -> None:
        assert self._end is not None
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()

    def listen(self, **asked: Any) -> str:
        """Open a listener, which lives as long as the control, and return its URL."""
        body = json.dumps({"port": 0} | asked).encode()
        leasing = asyncio.run_coroutine_threadsafe(self._lease(body), self.loop)
        return str(leasing.result(LIMIT))

    async def _lease(self, body: bytes) -> str:
        lease = Caller("POST", LISTENERS, body)
        self._leases.append(lease.ask(self.app))
        self._callers.append(lease)
        await lease.begun.wait()
        assert lease.reply.status == 201, lease.reply.body
        return str(lease.reply.lines()[0]["listening"]["url"])

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._leases: list[asyncio.Task[None]] = []
        self._callers: list[Caller] = []
        async with self._rig.control() as self.control:
            self.app = control_api(self.control, self._settlement).application
            self._begun.set()
            await self._end.wait()
            for caller in self._callers:
                caller.gone.set()
            await asyncio.gather(*self._leases)


@pytest.fixture
def served(rig: Any, settlement: FakeSettlement) -> Iterator[Served]:
    """A control whose API is served over TCP."""
    with Served(rig, settlement) as served:
        yield served
