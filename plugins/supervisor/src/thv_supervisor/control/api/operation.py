"""One operation of the API: what serves it, and what it reads and answers, for the description of the API."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

from litestar.handlers import HTTPRouteHandler
from litestar.response import Response
from litestar.types import Method

from thv_core.model.document import Document
from thv_supervisor.control.api.answering import Call

__all__ = [
    "DOCUMENT",
    "TEXT",
    "Answer",
    "Contract",
    "Operation",
    "Room",
    "document",
    "handlers",
    "operations",
    "serves",
]

DOCUMENT = "application/json"
TEXT = "text/plain"


@dataclass(frozen=True)
class Answer:
    """What an operation answers: in words, of which media type, and the type of the document.

    ``media`` is empty for an answer without a body. ``kind`` is the type of the document, or of each one of a stream.
    ``beside`` is the media type of what is answered to whoever does not accept the first.
    """

    description: str
    media: str = ""
    kind: Any = None
    beside: str = ""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What an operation reads and answers.

    ``query`` and ``body`` are the documents that it reads; ``errors`` are the statuses beyond those that any request
    may meet; ``headers`` are those of its answers. A ``private`` operation is served on the control socket alone.
    """

    answers: Mapping[int, Answer]
    query: type[Document] | None = None
    body: type[Document] | None = None
    errors: tuple[int, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    private: bool = False


class Room(Protocol):
    """A family of operations: its methods that are marked with :func:`serves`."""

    tag: ClassVar[str]


@dataclass(frozen=True)
class Operation:
    """One verb on one path, and what serves it."""

    method: Method
    path: str
    contract: Contract
    tag: str
    summary: str
    act: Callable[[Call], Awaitable[Response[Any]]]


Act = TypeVar("Act", bound=Callable[..., Awaitable[Response[Any]]])

_SERVED: dict[Callable[..., Any], tuple[Method, str, Contract]] = {}


def document(kind: Any, description: str = "It is so.", status: int = 200) -> dict[int, Answer]:
    """Return the answers of an operation that answers with one document."""
    return {status: Answer(description, DOCUMENT, kind)}


def serves(method: Method, path: str, contract: Contract) -> Callable[[Act], Act]:
    """Mark a method of a room as the one that serves a verb on a path; its docstring begins with what that does."""

    def marked(act: Act) -> Act:
        _SERVED[act] = method, path, contract
        return act

    return marked


def operations(room: Room) -> list[Operation]:
    """Return the operations of a room, as they are written down."""
    marked = [each for each in vars(type(room)).values() if inspect.isfunction(each) and each in _SERVED]
    return [Operation(*_SERVED[each], room.tag, _summary(each), partial(each, room)) for each in marked]


def _summary(act: Callable[..., Any]) -> str:
    first = (inspect.getdoc(act) or "").partition("\n")[0]
    return first.partition(";")[0].partition(":")[0].rstrip(".")


def handlers(served: Sequence[Operation]) -> list[HTTPRouteHandler]:
    """Return what the router calls for some operations.

    A path that has a fixed word where another has a name, such as ``/workloads/stop``, would hide whatever is named
    like that word: the operations of the other path are served there, too.
    """
    hidden = [
        _handler(operation, other.path, {name: other.path.rpartition("/")[2]})
        for operation in served
        for other in {each.path: each for each in served}.values()
        for name in _hidden_by(operation.path, other.path)
    ]
    return [*(_handler(each, each.path.replace("}", ":str}"), {}) for each in served), *hidden]


def _hidden_by(path: str, other: str) -> tuple[str, ...]:
    """Return the parameter at the end of a path if another path has a fixed word there."""
    parent, _, last = path.rpartition("/")
    other_parent, _, word = other.rpartition("/")
    return (last[1:-1],) if parent == other_parent and last.startswith("{") and not word.startswith("{") else ()


def _handler(operation: Operation, path: str, parameters: Mapping[str, str]) -> HTTPRouteHandler:
    async def handled(request: Call) -> Response[Any]:
        request.path_params.update(parameters)
        return await operation.act(request)

    return HTTPRouteHandler(path, http_method=operation.method, status_code=200)(handled)
