"""What all operations have in common: how they read a body and a query, and how they answer with a document."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias, TypeVar, get_origin

import msgspec
from litestar.connection import Request
from litestar.response import Response

from thv_core.errors import InvalidRequest
from thv_core.model.document import Document, decode_document

__all__ = ["Call", "accepted", "answer", "empty", "line", "queried", "received"]

Call: TypeAlias = Request[Any, Any, Any]
"""One request to the API."""

BODY_TIME = 30.0
"""Seconds in which a body must have arrived."""

D = TypeVar("D", bound=Document)


def answer(value: object, status: int = 200) -> Response[bytes]:
    """Return an answer that is one document."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def accepted() -> Response[bytes]:
    """Return the answer to what is wanted from now on and will be so."""
    return Response(b"", status_code=202, media_type="text/plain")


def empty() -> Response[None]:
    """Return the answer to what is done and has nothing to tell."""
    return Response(None, status_code=204)


def line(value: object) -> bytes:
    """Return a document as one line of a stream."""
    return msgspec.json.encode(value) + b"\n"


async def received(call: Call, kind: type[D]) -> D:
    """Return the body of a request.

    :raises InvalidRequest: when it is not of that kind, or does not arrive.
    """
    try:
        async with asyncio.timeout(BODY_TIME):
            body = await call.body()
    except TimeoutError:
        raise InvalidRequest(f"the body of the request did not arrive within {BODY_TIME:g} s") from None
    return decode_document(body, kind, "request")


def queried(call: Call, kind: type[D]) -> D:
    """Return the query of a request as the document that says what may be asked; what it does not name is ignored.

    :raises InvalidRequest: naming the first parameter that cannot be meant.
    """
    given: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if name in call.query_params:
            values: list[str] = call.query_params.getall(name)
            given[name] = values if get_origin(field.type) is tuple else values[-1]
            _checked(name, given[name], field.type)
    return msgspec.convert(given, kind, strict=False)


def _checked(name: str, value: object, wanted: Any) -> None:
    try:
        msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{name}={value} cannot be meant: {error}") from None
