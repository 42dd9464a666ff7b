"""What one workload answers: ``/mcp`` and its other faces, ``/health``, and a reason for everything else."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine

from thv_core.spi.middleware import Outcome, Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, document, refusal
from thv_gateway.servers.upstream import Endpoint, Flow
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.reception import Reception
from thv_gateway.web.request import Request

__all__ = ["Answer", "Application", "Face"]

_ALLOW_GET = ((b"allow", b"GET"),)
_METRICS = "No metrics are served here."

Face = Callable[[Arrival], Awaitable[None]]
"""Answers what comes to one path, on ``arrival.peer``."""

Ended = Callable[[Coroutine[None, None, None] | None], None]
"""Takes note of the end of an exchange, or takes what has to be awaited for that."""

Answer = Callable[[Arrival, Chain], Awaitable[Reply | Flow]]
"""Says what to answer to a request that passed every stage."""


class Application:
    """Serves one workload on one address.

    ``busy`` counts the POSTs that are being answered, for a drain to wait on. ``chain`` may be exchanged at any time:
    a request ends in the one that it entered. ``faces`` are what is served beside ``/mcp``, by path.

    :param health: returns the document of ``/health`` and whether the server is available.
    """

    def __init__(
        self,
        workload: str,
        chain: Chain,
        reception: Reception,
        health: Callable[[], tuple[int, dict[str, object]]],
    ) -> None:
        self.busy = 0
        self.chain = chain
        self.faces: dict[str, Face] = {"/mcp": self.exchange}
        self.is_own: Callable[[Arrival], bool] = _every
        self._reception = reception
        self._workload = workload
        self._health = health

    @property
    def current(self) -> Endpoint:
        """What answers for the life of the server that is served now."""
        return self._reception.current

    def __call__(self, request: Request) -> Awaitable[None]:
        """Answer a request that came to this workload's own address."""
        return self.serve(request, request.target.path, "")

    def serve(self, request: Request, path: str, prefix: str) -> Awaitable[None]:
        """Answer one HTTP request; ``prefix`` preceded its path."""
        face = self.faces.get(path)
        return self._decline(request, path) if face is None else face(self._arrival(request, path, prefix))

    def at_once(self, request: Request, ended: Ended) -> bool:
        """Begin to answer a request that is all there, without a task; tell whether it is as simple as that.

        :param ended: called once when it was answered, or with what has to be awaited for that.
        """
        chain, heading = self.chain, request.heading
        if not (chain.is_direct and self._reception.is_open and heading.target.path == "/mcp"):
            return False
        body = request.whole() if heading.method == "POST" else None
        arrival = self._arrival(request, "/mcp", "")
        if body is None or not self.is_own(arrival):
            return False
        arrival.body = body
        refused = chain.pass_at_once(arrival)
        if not chain.is_calm(arrival):
            return False
        self.busy += 1

        def told(answer: Reply | Coroutine[None, None, Reply | Flow]) -> None:
            if isinstance(answer, Reply):
                self.busy -= 1
                request.reply(answer)
                ended(None)
            else:
                ended(self._go_on(arrival, chain, answer))

        if refused is not None:
            told(refused)
        elif not self._reception.start(arrival, chain, told):
            told(self.answer(arrival, chain))
        return True

    async def _go_on(self, arrival: Arrival, chain: Chain, answering: Coroutine[None, None, Reply | Flow]) -> None:
        try:
            answered = await answering
            if isinstance(answered, Reply):
                arrival.peer.reply(answered)
            else:
                await answered.flow(arrival, chain)
        finally:
            self.busy -= 1

    def _arrival(self, request: Request, path: str, prefix: str) -> Arrival:
        heading = request.heading
        return Arrival(
            workload=self._workload,
            method=heading.method,
            path=path,
            headers=heading.headers,
            client=request.client,
            peer=request,
            fields=heading.fields,
            query=heading.target.query,
            prefix=prefix,
            secure=request.secure,
            heading=heading,
        )

    async def exchange(self, arrival: Arrival, answer: Answer | None = None) -> None:
        """Take a request through the whole chain and let it be answered on its peer, by the server or by ``answer``."""
        counted = arrival.method == "POST"
        self.busy += counted
        chain = self.chain
        started = time.monotonic()
        status = 500
        try:
            answered = await chain.enter(arrival) or await (answer or self.answer)(arrival, chain)
            if isinstance(answered, Reply):
                status = answered.status
                arrival.peer.reply(answered)
            else:
                status = 200
                await answered.flow(arrival, chain)
        finally:
            self.busy -= counted
            if chain.is_watched:
                await chain.leave(arrival, Outcome(status, time.monotonic() - started, arrival.fault))

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Let the server answer, as soon as there is one."""
        reception = self._reception
        endpoint = reception.current
        try:
            if not (reception.is_open and endpoint.knows(arrival)):
                placed = await reception.place(arrival)
                if isinstance(placed, Reply):
                    return placed
                endpoint = placed
            return await endpoint.answer(arrival, chain)
        except Exception:
            arrival.fault = "internal"
            return refusal(500, INTERNAL_ERROR, "Internal error", arrival.identifier)

    async def _decline(self, request: Request, path: str) -> None:
        request.reply(self._elsewhere(request.method, path))

    def _elsewhere(self, method: str, path: str) -> Reply:
        if path == "/metrics":
            return document(404, {"error": "not_found", "message": _METRICS})
        if path != "/health":
            return document(404, {"error": "not_found"})
        if method not in ("GET", "HEAD"):
            return document(405, {"error": "method_not_allowed"}, _ALLOW_GET)
        return document(*self._health())


def _every(arrival: Arrival) -> bool:
    """Take every request for one that is answered by this process."""
    return True
