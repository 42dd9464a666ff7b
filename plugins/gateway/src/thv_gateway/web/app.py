"""The ASGI entry of one listener: ``/mcp``, ``/health``, and 404 for everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any

from thv_core.spi.middleware import Outcome, Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, document, refusal
from thv_gateway.servers.upstream import Flow
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.asgi import AsgiPeer, Receive, Send
from thv_gateway.web.reception import Reception

__all__ = ["Application"]

_ALLOW_GET = ((b"allow", b"GET"),)


class Application:
    """Serves one workload on one address.

    ``busy`` counts the POSTs that are being answered, for a drain to wait on. ``chain`` may be exchanged at any time:
    a request ends in the one that it entered.

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
        self._reception = reception
        self._workload = workload
        self._health = health

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request; see the ASGI specification, HTTP connection scope."""
        peer = AsgiPeer(receive, send)
        if scope["path"] != "/mcp":
            peer.reply(self._elsewhere(scope))
            await peer.settle()
            return
        arrival = _arrival(self._workload, scope, peer)
        counted = arrival.method == "POST"
        self.busy += counted
        try:
            await self._exchange(arrival)
            await peer.settle()
        finally:
            self.busy -= counted

    async def _exchange(self, arrival: Arrival) -> None:
        chain = self.chain
        started = time.monotonic()
        status = 500
        try:
            answer = await chain.enter(arrival) or await self._answer(arrival, chain)
            status = answer.status if isinstance(answer, Reply) else 200
            if isinstance(answer, Reply):
                arrival.peer.reply(answer)
            else:
                await answer.flow(arrival, chain)
        finally:
            await chain.leave(arrival, Outcome(status, time.monotonic() - started, arrival.fault))

    async def _answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
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
            return refusal(500, INTERNAL_ERROR, "Internal error", arrival.message.id if arrival.message else b"")

    def _elsewhere(self, scope: MutableMapping[str, Any]) -> Reply:
        if scope["path"] != "/health":
            return document(404, {"error": "not_found"})
        if scope["method"] != "GET":
            return document(405, {"error": "method_not_allowed"}, _ALLOW_GET)
        return document(*self._health())


def _arrival(workload: str, scope: MutableMapping[str, Any], peer: AsgiPeer) -> Arrival:
    headers = tuple(scope["headers"])
    client = scope.get("client")
    return Arrival(
        workload=workload,
        method=scope["method"],
        path=scope["path"],
        headers=headers,
        client=client[0] if client else "",
        peer=peer,
        fields=dict(headers),
    )
