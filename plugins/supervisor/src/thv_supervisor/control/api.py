"""The control API: HTTP with JSON over a Unix socket that only its user can open."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from thv_core import __version__
from thv_core.errors import InvalidRequest, ThvError
from thv_core.model.document import decode_document
from thv_core.model.events import Progress
from thv_core.model.request import RunRequest
from thv_core.model.status import Status
from thv_core.model.workload import Workload
from thv_supervisor.control.api_cache import CacheHandlers
from thv_supervisor.control.api_egress import EgressHandlers
from thv_supervisor.control.api_wire import LINES, answer, is_true, line, refusal, tail
from thv_supervisor.control.keeping import STOP_GRACE, Keeper
from thv_supervisor.control.log_reading import proxy_log, server_log
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.control.settling import Settlement
from thv_supervisor.installations import HEADER
from thv_supervisor.wire import NOTICE, PREFIX, WORKLOADS

__all__ = ["application"]

BODY_LIMIT = 1 << 20
SETTLE_LIMIT = 60.0
MOST_GRACE = 3600.0


def application(reconciler: Reconciler, settlement: Settlement) -> Starlette:
    """Return the ASGI application of the control API."""
    operations = [
        *_Handlers(reconciler, settlement).table(),
        *EgressHandlers(reconciler.ground).table(),
        *CacheHandlers(reconciler).table(),
    ]
    return Starlette(
        routes=[Route(path, handler, methods=[method]) for method, path, handler in operations],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_settled(settlement))],
        exception_handlers={ThvError: _refused},
    )


def _settled(
    settlement: Settlement,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    async def dispatch(request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            notice = settlement.settle(request.headers.get(HEADER))
        except ThvError as error:
            return await _refused(request, error)
        response = await following(request)
        if notice:
            response.headers[NOTICE] = notice.encode("ascii", "backslashreplace").decode()
        return response

    return dispatch


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ThvError)  # noqa: S101 - registered for that class only
    return refusal(error)


class _Handlers:
    """One method for each operation."""

    def __init__(self, reconciler: Reconciler, settlement: Settlement) -> None:
        self._reconciler = reconciler
        self._settlement = settlement

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Return method, path and handler of each operation."""
        one = f"{WORKLOADS}/{{name}}"
        return [
            ("GET", "/health", self.health),
            ("GET", f"{PREFIX}/version", self.version),
            ("POST", f"{PREFIX}/shutdown", self.shutdown),
            ("GET", WORKLOADS, self.workloads),
            ("POST", WORKLOADS, self.run),
            ("DELETE", f"{PREFIX}/requests/{{request_id}}", self.abandon),
            ("DELETE", one, self.remove),
            ("GET", f"{one}/status", self.status),
            ("POST", f"{one}/restart", self.restart),
            ("POST", f"{one}/stop", self.stop),
            ("GET", f"{one}/export", self.export),
            ("GET", f"{one}/logs", self.logs),
            ("GET", f"{one}/proxy-logs", self.proxy_logs),
        ]

    async def health(self, request: Request) -> Response:
        """Answer that control is alive."""
        return Response(status_code=204)

    async def version(self, request: Request) -> Response:
        """Return the version of the core that control runs."""
        return answer({"version": __version__})

    async def shutdown(self, request: Request) -> Response:
        """End the three processes; every server lives on."""
        os.kill(os.getppid(), signal.SIGTERM)
        return Response(status_code=202)

    async def workloads(self, request: Request) -> Response:
        """List workloads: those that should run, whatever ails them, or all with ``?all=true``."""
        await self._reconciler.look()
        views = self._reconciler.views()
        if not is_true(request, "all"):
            views = [view for view in views if view.status not in (Status.STOPPED, Status.STOPPING)]
        return answer({"workloads": views})

    async def run(self, request: Request) -> Response:
        """Run a server, and stream what happens until it is ready or has failed."""
        asked = decode_document(await _body(request), RunRequest, "request")
        if not self._reconciler.knows(asked):
            self._settlement.adopt_network(asked.network)
        keeper = await self._reconciler.submit(asked)
        return StreamingResponse(self._story(keeper), 201, media_type=LINES)

    async def restart(self, request: Request) -> Response:
        """Start a workload anew, and stream what happens until it is ready or has failed."""
        keeper = await self._reconciler.start(request.path_params["name"])
        return StreamingResponse(self._story(keeper), 202, media_type=LINES)

    async def stop(self, request: Request) -> Response:
        """Stop a workload, waiting until it has; ``?timeout=SECONDS`` is its grace."""
        name, grace = request.path_params["name"], _grace(request)
        await self._reconciler.stop(name, grace)
        await self._reconciler.until(name, _stopped, grace + SETTLE_LIMIT)
        return Response(status_code=202)

    async def remove(self, request: Request) -> Response:
        """Remove a workload, waiting until nothing of it is left."""
        name = request.path_params["name"]
        await self._reconciler.remove(name)
        await self._reconciler.until(name, _gone, STOP_GRACE + SETTLE_LIMIT)
        return Response(status_code=202)

    async def abandon(self, request: Request) -> Response:
        """Undo a run that its caller gave up, waiting until nothing of it is left."""
        names = await self._reconciler.abandon(request.path_params["request_id"])
        for name in names:
            await self._reconciler.until(name, _gone, STOP_GRACE + SETTLE_LIMIT)
        return answer({"removed": names})

    async def status(self, request: Request) -> Response:
        """Return one workload."""
        await self._reconciler.look()
        return answer(self._reconciler.view(request.path_params["name"]))

    async def export(self, request: Request) -> Response:
        """Return the RunConfig of a workload."""
        return answer(self._reconciler.ground.store.get(request.path_params["name"]).config)

    async def logs(self, request: Request) -> Response:
        """Return what a server wrote to its standard error; ``?tail=LINES`` and ``?follow=true``."""
        workload = self._reconciler.ground.store.get(request.path_params["name"])
        written = await server_log(workload, self._reconciler.ground, *_window(request))
        return StreamingResponse(written, media_type="text/plain")

    async def proxy_logs(self, request: Request) -> Response:
        """Return what the gateway noted about a workload; ``?tail=LINES`` and ``?follow=true``."""
        workload = self._reconciler.ground.store.get(request.path_params["name"])
        return StreamingResponse(
            proxy_log(workload, self._reconciler.ground, *_window(request)), media_type="text/plain"
        )

    async def _story(self, keeper: Keeper) -> AsyncIterator[bytes]:
        async for happening in keeper.happenings.listen():
            if isinstance(happening, Progress):
                yield line({"progress": msgspec.to_builtins(happening)})
            elif isinstance(happening, ThvError):
                yield line({"error": happening.document()})
            else:
                yield line({"ready": msgspec.to_builtins(self._reconciler.view(keeper.name))})


def _stopped(workload: Workload | None) -> bool:
    return workload is None or workload.status in (Status.STOPPED, Status.ERROR)


def _gone(workload: Workload | None) -> bool:
    return workload is None


def _window(request: Request) -> tuple[int | None, bool]:
    return tail(request), is_true(request, "follow")


def _grace(request: Request) -> float:
    text = request.query_params.get("timeout", str(STOP_GRACE))
    try:
        grace = float(text)
    except ValueError:
        grace = -1.0
    if not 0 <= grace <= MOST_GRACE:
        raise InvalidRequest(f"timeout={text} is not a number of seconds from 0 to {MOST_GRACE:g}")
    return grace


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise InvalidRequest("the request is larger than 1 MiB")
    return body
