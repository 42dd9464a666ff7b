"""The description of the API, and a page that shows it without asking any other host."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any, ClassVar

import msgspec
from litestar.response import Response

from thv_supervisor.control.api.answering import Call
from thv_supervisor.control.api.openapi import description
from thv_supervisor.control.api.operation import DOCUMENT, Answer, Contract, Operation, operations, serves
from thv_supervisor.wire import DOCUMENTATION, OPENAPI

__all__ = ["DescriptionRoom"]

HTML = "text/html"
ONLY_OURS = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"

Described = dict[str, object]


class DescriptionRoom:
    """The description of some operations, and of itself."""

    tag: ClassVar[str] = "description"

    def __init__(self, described: Sequence[Operation]) -> None:
        self._described = described

    @serves("GET", OPENAPI, Contract(answers={200: Answer("OpenAPI 3.1.", DOCUMENT, Described)}))
    async def openapi(self, call: Call) -> Response[Any]:
        """Return the description of the API."""
        return Response(self._encoded, media_type=DOCUMENT)

    @serves("GET", DOCUMENTATION, Contract(answers={200: Answer("A page for people.", HTML)}))
    async def page(self, call: Call) -> Response[Any]:
        """Show the description of the API to people."""
        page = files(__package__ or "").joinpath("page.html").read_text(encoding="utf-8")
        shown = page.replace("__DESCRIPTION__", self._encoded.decode().replace("</", "<\\/"))
        return Response(shown, media_type=HTML, headers={"content-security-policy": ONLY_OURS})

    @cached_property
    def _encoded(self) -> bytes:
        return msgspec.json.encode(description([*self._described, *operations(self)]))
