"""What the operations of the control API have in common: how they read a query, and how they answer."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from thv_core.errors import InvalidRequest, ThvError

__all__ = ["LINES", "answer", "is_true", "line", "refusal", "tail"]

LINES = "application/x-ndjson"
"""The media type of a stream of documents, one a line."""

_STATUSES = {
    "already-exists": 409,
    "invalid-document": 400,
    "invalid-request": 400,
    "invalid-settings": 400,
    "not-found": 404,
    "not-ready": 503,
    "port-unavailable": 409,
}


def answer(value: object) -> Response:
    """Return an answer that is one document."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def line(value: object) -> bytes:
    """Return a document as one line of a stream."""
    return msgspec.json.encode(value) + b"\n"


def refusal(error: ThvError) -> Response:
    """Return the answer that an error is."""
    return JSONResponse(error.document(), _STATUSES.get(error.code, 500))


def is_true(request: Request, name: str) -> bool:
    """Tell whether a request has ``?name=true``."""
    return request.query_params.get(name) == "true"


def tail(request: Request) -> int | None:
    """Return the number of ``?tail=LINES``, or ``None`` when a request has none.

    :raises InvalidRequest: when it is no number.
    """
    text = request.query_params.get("tail")
    if text is not None and not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"tail={text} is not a number of lines")
    # More digits than any log has lines.
    return None if text is None or len(text) > 9 else int(text)
