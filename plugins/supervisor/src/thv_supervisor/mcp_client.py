"""A small MCP client over HTTP, for people at a terminal: both transports, and both eras of the protocol.

Source: MCP 2025-11-25 (initialize, sessions) and 2026-07-28 (server/discover, no sessions).
"""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

from thv_core import __version__
from thv_core.errors import ThvError, TimedOut, Unavailable
from thv_supervisor.mcp_ways import EventWay, Rejected, RequestWay, Way
from thv_supervisor.modern_heads import MODERN_VERSION, Mirrors, envelope, modern_head
from thv_supervisor.places import Place

__all__ = ["Manner", "McpClient", "Refusal"]

PROTOCOL_VERSION = "2025-11-25"
MOST_PAGES = 100
METHOD_NOT_FOUND = -32601

_NO_REQUESTS = (400, 404, 405, 406, 415)
"""What a server of the older transport says to a POST at its stream (MCP 2025-11-25, backwards compatibility)."""


_MODERN = (-32020, -32021, -32022, METHOD_NOT_FOUND)
"""Errors of whoever takes requests, and does not want this one."""


class Refusal(ThvError):
    """A server answered a request with an error; ``number`` is its JSON-RPC code, 0 when it named none."""

    number = 0


class Manner(NamedTuple):
    """How a server is spoken to: each ``auto``, or which ``transport`` and which ``era`` of the protocol."""

    transport: str = "auto"
    era: str = "auto"


class McpClient:
    """One conversation with a server; a context manager that opens and ends it.

    :param patience: seconds in which a refused first connection is tried again: a gateway that is replaced is away for
        a moment.
    """

    def __init__(
        self,
        place: Place | str,
        timeout: float,
        patience: float = 0.0,
        manner: Manner = Manner(),  # noqa: B008 - it is frozen, so that one serves for all
    ) -> None:
        self._place = Place(place) if isinstance(place, str) else place
        self._url = self._place.url
        self._timeout = timeout
        self._patience = patience
        self._manner = manner
        self._ids = itertools.count(1)
        self._mirrors = Mirrors()
        self._is_modern = False
        self._way: Way = RequestWay(self._place, timeout)

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._way.close()
            raise
        return self

    def _open(self) -> None:
        if self._manner.transport == "sse":
            self._take(EventWay)
            self._greet()
            return
        self._take(RequestWay)
        if self._manner.era == "modern":
            self._discover()
            return
        try:
            self._greet()
        except (Rejected, Refusal) as failure:
            if not (self._manner.era == "auto" and self._is_discovered()):
                self._fall_back(failure)

    def _is_discovered(self) -> bool:
        try:
            self._discover()
        except (Rejected, Refusal):
            return False
        return True

    def _fall_back(self, failure: ThvError) -> None:
        """Go the older way, where the answer to a request could mean that the server knows no other."""
        number = failure.error.get("code") if isinstance(failure, Rejected) else METHOD_NOT_FOUND
        is_unknown = isinstance(failure, Rejected) and failure.status in _NO_REQUESTS and number not in _MODERN
        if self._manner.transport != "auto" or not is_unknown:
            raise failure
        self._take(EventWay, failure)
        self._greet()

    def _take(self, kind: Callable[[Place, float], Way], instead: ThvError | None = None) -> None:
        """Go another way.

        :param instead: what is raised when the server does not offer it.
        """
        self._way.close()
        self._way = kind(self._place, self._timeout)
        try:
            with self._explained():
                self._way.open(self._patience)
        except ThvError as error:
            raise instead or error from None

    def _greet(self) -> None:
        """Open a session of the older era."""
        self._is_modern = False
        client = {"name": "thv", "version": __version__}
        opening: dict[str, object] = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
        version = self.request("initialize", opening).get("protocolVersion")
        if not isinstance(version, str):
            raise self._not_mcp("initialize")
        self._way.headers["mcp-protocol-version"] = version
        with self._explained():
            self._way.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _discover(self) -> None:
        """Find out whether the server speaks the modern era; there is nothing to open."""
        self._is_modern = True
        versions = self.request("server/discover", {}).get("supportedVersions", [])
        if MODERN_VERSION not in versions:
            raise Unavailable(f"{self._url} does not speak {MODERN_VERSION}")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if value is None:
                with self._explained():
                    self._way.leave()
        finally:
            self._way.close()

    def request(self, method: str, params: dict[str, object]) -> dict[str, Any]:
        """Return the result of one request.

        :raises ThvError: with the server's message when it answers with an error.
        """
        number = next(self._ids)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        if self._is_modern:
            message["params"] = {**params, "_meta": envelope()}
            self._way.headers = _without_repeats(self._way.headers) | modern_head(message, self._mirrors)
        with self._explained(method):
            answer = self._answer(message, time.monotonic() + self._timeout)
        if "error" in answer:
            raise _refusal(method, answer["error"])
        if not isinstance(answer.get("result"), dict):
            raise self._not_mcp(method)
        result: dict[str, Any] = answer["result"]
        if self._is_modern and method == "tools/list":
            self._mirrors.learn(result)
        if result.get("resultType") == "input_required":
            raise Unavailable(f"{method} needs answers of a person, which thv cannot give here")
        return result

    def _answer(self, message: dict[str, Any], ends: float) -> dict[str, Any]:
        method = message["method"]
        try:
            for found in self._way.ask(message, ends):
                if not isinstance(found, dict):
                    raise self._not_mcp(method)
                known = cast("dict[str, Any]", found)
                if known.get("id") == message["id"] and "method" not in known:
                    return known
        except ValueError:
            raise self._not_mcp(method) from None
        raise Unavailable(f"{self._url} closed its answer to {method} before it was complete")

    def _not_mcp(self, method: str) -> ThvError:
        return Unavailable(f"{self._url} does not answer {method} as an MCP server would")

    def pages(self, method: str, key: str) -> list[dict[str, Any]]:
        """Return the items of every page of a list request."""
        items: list[dict[str, Any]] = []
        params: dict[str, object] = {}
        for _ in range(MOST_PAGES):
            result = self.request(method, params)
            items += result.get(key, [])
            if not result.get("nextCursor"):
                return items
            params = {"cursor": result["nextCursor"]}
        raise ThvError(f"{method} has more than {MOST_PAGES} pages")

    def offered(self, method: str, key: str) -> list[dict[str, Any]]:
        """Return the items of every page of a list request; none when the server does not know the request."""
        try:
            return self.pages(method, key)
        except Refusal as refusal:
            if refusal.number != METHOD_NOT_FOUND:
                raise
            return []

    @contextmanager
    def _explained(self, method: str = "") -> Generator[None]:
        try:
            yield
        except Rejected as rejected:
            if rejected.error.get("code") == METHOD_NOT_FOUND and method:
                # A server may say so by the status as well.
                raise _refusal(method, rejected.error) from None
            raise
        except TimeoutError:
            raise TimedOut(f"{self._url} did not answer in time") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self._url} does not answer: {error}", hint="thv list shows what is running.") from None


def _without_repeats(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.startswith("mcp-")}


def _refusal(method: str, error: object) -> Refusal:
    if not isinstance(error, dict):
        return Refusal(f"the server refused {method}: {error}")
    known = cast("dict[str, Any]", error)
    refusal = Refusal(f"the server refused {method}: {known.get('message', 'no reason given')}")
    number = known.get("code")
    refusal.number = number if isinstance(number, int) else 0
    return refusal
