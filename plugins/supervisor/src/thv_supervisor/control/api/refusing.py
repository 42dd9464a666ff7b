"""How an error is answered: its status, its document, and nothing that the caller need not know."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from litestar.connection import Request
from litestar.exceptions import HTTPException
from litestar.response import Response

from thv_core.errors import ThvError
from thv_core.model.document import Document
from thv_supervisor.control.api.statuses import reason_of, status_of

__all__ = ["HANDLERS", "ErrorDocument", "encoded", "encoded_refusal"]

log = logging.getLogger(__name__)

JSON = "application/json"
BESIDE = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "1"}}
"""What some refusals say in their headers; 503 is asked again after a second."""

Encoded = tuple[int, dict[str, str], bytes]


class ErrorDocument(Document, frozen=True, kw_only=True):
    """What every refusal says: a stable word, one sentence, the evidence, and what to do."""

    code: str
    message: str
    evidence: tuple[str, ...] = ()
    hint: str = ""


def encoded_refusal(error: ThvError) -> Encoded:
    """Return the answer that an error is: its status, its headers, its body."""
    return encoded(msgspec.convert(error.document(), ErrorDocument), status_of(error), {})


def encoded(document: ErrorDocument, status: int, headers: dict[str, str]) -> Encoded:
    """Return an answer of one refusal."""
    return status, {"content-type": JSON, **BESIDE.get(status, {}), **headers}, msgspec.json.encode(document)


def _response(answer: Encoded) -> Response[bytes]:
    status, headers, body = answer
    return Response(body, status_code=status, media_type=JSON, headers=headers)


def _refused(request: Request[Any, Any, Any], error: ThvError) -> Response[bytes]:
    return _response(encoded_refusal(error))


def _misdirected(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the router refuses: an unknown path, another verb, a body that is too large."""
    code, message = reason_of(error.status_code, request.method, request.scope["path"])
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    return _response(encoded(ErrorDocument(code=code, message=message), error.status_code, headers))


def _unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    document = ErrorDocument(
        code="internal-error", message="control failed at this request", hint="supervisor.log has the reason."
    )
    return _response(encoded(document, 500, {}))


HANDLERS: dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]] = {
    ThvError: _refused,
    HTTPException: _misdirected,
    Exception: _unforeseen,
}
"""The handlers of exceptions of the application."""
