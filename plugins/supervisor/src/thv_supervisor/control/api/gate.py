"""The gate of one listener: who may come in, and is this control still the right one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from thv_core.errors import Forbidden, ThvError, Unauthorized
from thv_supervisor.control.api.processes import NONCE
from thv_supervisor.control.api.refusing import ErrorDocument, encoded, encoded_refusal
from thv_supervisor.control.api.token import is_token
from thv_supervisor.installations import HEADER
from thv_supervisor.wire import NOTICE

__all__ = ["Gate", "Policy", "Settling"]

PROTECTIVE = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_FOREIGN = ("cross-site", "same-site")
_FROM_A_PROGRAM = "Call it from a program of this machine; no web page of another place may."


class Settling(Protocol):
    """What decides, for each request, whether this control is still the right one."""

    def settle(self, header: str | None) -> str:
        """Return what the caller must be told, or nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Who may come in at one listener.

    ``private`` is the control socket of the user, whose callers are asked for their installation. ``token`` is wanted
    of every request unless it is empty. ``authorities`` are the values of ``Host`` that mean this listener; when there
    are none, it is a Unix socket, which no web page reaches.
    """

    nonce: str
    private: bool = False
    token: str = field(default="", repr=False)
    authorities: frozenset[str] = frozenset()

    def admit(self, headers: dict[str, str]) -> None:
        """Check the headers of a request.

        :raises Forbidden: when a web page or a foreign name leads here.
        :raises Unauthorized: when the token is missing or wrong.
        """
        if self.authorities:
            self._check_origin(headers)
        if self.token and not is_token(headers.get("authorization", ""), self.token):
            raise Unauthorized(
                "the request carries no token of this API" if "authorization" not in headers else "the token is wrong",
                hint="Send  Authorization: Bearer TOKEN  with the content of api.token in the state directory.",
            )

    def _check_origin(self, headers: dict[str, str]) -> None:
        """Refuse whatever a web page or a name that was rebound can send (reference: DNS rebinding)."""
        host = headers.get("host", "")
        if host.lower() not in self.authorities:
            raise Forbidden(f"Host {host!r} is not this listener", hint=f"Use http://{min(self.authorities)}")
        origin = headers.get("origin")
        if origin is not None and origin.lower().removeprefix("http://") not in self.authorities:
            raise Forbidden(f"Origin {origin!r} may not use this API", hint=_FROM_A_PROGRAM)
        if headers.get("sec-fetch-site") in _FOREIGN:
            raise Forbidden("another site may not use this API", hint=_FROM_A_PROGRAM)


class Gate:
    """The application behind its policy."""

    def __init__(self, app: ASGIApp, policy: Policy, settlement: Settling) -> None:
        self._app = app
        self._policy = policy
        self._settlement = settlement

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != ScopeType.HTTP:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        added = [*PROTECTIVE, *self._nonce(scope["path"])]
        try:
            self._policy.admit(headers)
            notice = self._settlement.settle(headers.get(HEADER) if self._policy.private else None)
        except ThvError as error:
            await _send(encoded_refusal(error), added, send)
            return
        if scope["method"] == "OPTIONS":
            # A browser asks like this before it lets a page of another origin in; nothing here is for it.
            document = ErrorDocument(code="method-not-allowed", message="OPTIONS is not offered")
            await _send(encoded(document, 405, {"allow": "GET, POST, PATCH, DELETE"}), added, send)
            return
        if notice:
            added.append((NOTICE.encode(), notice.encode("ascii", "backslashreplace")))
        await self._app(scope, receive, _adding(added, send))

    def _nonce(self, path: str) -> list[tuple[bytes, bytes]]:
        return [(NONCE.encode(), self._policy.nonce.encode())] if path == "/health" else []


def _adding(added: list[tuple[bytes, bytes]], send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            extra = [pair for pair in added if pair[0] not in present]
            message["headers"] = [*message["headers"], *extra]
        await send(message)

    return sent


async def _send(refused: tuple[int, dict[str, str], bytes], added: list[tuple[bytes, bytes]], send: Send) -> None:
    status, headers, body = refused
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    length = (b"content-length", b"%d" % len(body))
    start: Any = {"type": "http.response.start", "status": status, "headers": [*pairs, length, *added]}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
