"""The listener on which every workload is reached, each under its name: ``/NAME/mcp``."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from thv_gateway.messages.answers import document
from thv_gateway.web.app import Application
from thv_gateway.web.listeners import Address, Listener
from thv_gateway.web.request import Request

__all__ = ["SharedListener"]

_logger = logging.getLogger("thv.gateway")


class SharedListener:
    """Hands a request to the application of the workload that its path begins with."""

    def __init__(self) -> None:
        self._apps: Mapping[str, Application] = {}
        self._address: Address | None = None
        self._listener: Listener | None = None

    @property
    def problem(self) -> str:
        """Why it does not listen; empty when it does, or is not wanted."""
        return self._listener.problem if self._listener is not None else ""

    def arrange(self, host: str, port: int, apps: Mapping[str, Application]) -> None:
        """Serve these workloads on an address; on none when ``port`` is 0."""
        self._apps = apps
        address = Address(host, port) if port else None
        if address == self._address:
            return
        before, self._listener = self._listener, None
        if before is not None:
            before.stop_accepting()
            before.close()
        self._address = address
        if address is not None:
            self._listener = Listener(address, self, self._changed)

    def drain(self) -> None:
        """Take no new connections, and refuse what comes on the open ones."""
        if self._listener is not None:
            self._listener.drain()

    def close(self) -> None:
        """Close everything at once."""
        if self._listener is not None:
            self._listener.close()

    async def __call__(self, request: Request) -> None:
        """Answer a request with the application that it names, or with 404."""
        name, _, rest = request.target.path[1:].partition("/")
        app = self._apps.get(name)
        if app is None:
            request.reply(document(404, {"error": "not_found"}))
        else:
            await app.serve(request, f"/{rest}", f"/{name}")

    def _changed(self) -> None:
        if self.problem:
            _logger.error("the shared listener: %s", self.problem)
