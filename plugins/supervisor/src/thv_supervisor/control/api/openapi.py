"""The description of the API: OpenAPI 3.1, made from the operations and the types that they read and answer.

The schemas are those of msgspec, which decodes and encodes the documents: what is described is what is accepted.
(Litestar's own generator cannot describe our structs: it hashes their defaults.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from thv_core import __version__
from thv_core.model.document import Document
from thv_supervisor.control.api.operation import DOCUMENT, Answer, Contract, Operation
from thv_supervisor.control.api.refusing import ErrorDocument
from thv_supervisor.control.api.statuses import MEANINGS

__all__ = ["description"]

REFERENCE = "#/components/schemas/{name}"
EVERYWHERE = (401, 403, 500, 503)
"""The statuses that any request may meet."""

_SECRET = "token"  # noqa: S105 - the name of a scheme

Plain = dict[str, Any]


def description(operations: Sequence[Operation]) -> Plain:
    """Return the OpenAPI document of some operations."""
    paths: dict[str, Plain] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "thv", "version": __version__, "description": "Run MCP servers in isolation."},
        "servers": [{"url": "/"}],
        "security": [{_SECRET: []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in operations)],
        "paths": paths,
        "components": {
            "schemas": _components(operations),
            "securitySchemes": {_SECRET: {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> Plain:
    contract = operation.contract
    described: Plain = {
        "operationId": _identity(operation),
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": dict(_responses(contract)),
    }
    if parameters := [*_path_parameters(operation.path), *_query_parameters(contract.query)]:
        described["parameters"] = parameters
    if contract.body:
        described["requestBody"] = {"required": True, "content": {DOCUMENT: {"schema": _schema(contract.body)}}}
    return described


def _identity(operation: Operation) -> str:
    words = re.findall(r"[a-z0-9]+", operation.path.removeprefix("/api/v1beta").lower())
    return "-".join([operation.method.lower(), *words])


def _responses(contract: Contract) -> Iterable[tuple[str, Plain]]:
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in contract.headers.items()}
    for status, answer in contract.answers.items():
        content = {answer.media: _content(answer)} if answer.media else {}
        content |= {answer.beside: {"schema": {"type": "string"}}} if answer.beside else {}
        yield str(status), {"description": answer.description, "headers": headers, "content": content}
    read = ((400,) if contract.query or contract.body else ()) + ((413,) if contract.body else ())
    for status in sorted({*EVERYWHERE, *contract.errors, *read} - set(contract.answers)):
        content = {DOCUMENT: {"schema": _schema(ErrorDocument)}}
        yield str(status), {"description": MEANINGS[status], "content": content}


def _content(answer: Answer) -> Plain:
    """Return the schema of a document; of a stream, that of a text, and beside it that of each document in it."""
    if answer.kind is None:
        return {"schema": {"type": "string"}}
    if answer.media == DOCUMENT:
        return {"schema": _schema(answer.kind)}
    return {"schema": {"type": "string"}, "x-item-schema": _schema(answer.kind)}


def _path_parameters(path: str) -> list[Plain]:
    names = re.findall(r"{(\w+)}", path)
    schema = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]


def _query_parameters(query: type[Document] | None) -> list[Plain]:
    fields = msgspec.structs.fields(query) if query else ()
    return [{"name": each.encode_name, "in": "query", "schema": _schema(each.type)} for each in fields]


def _schema(kind: Any) -> Plain:
    (schema,), _ = msgspec.json.schema_components([kind], schema_hook=_any, ref_template=REFERENCE)
    return schema


def _components(operations: Sequence[Operation]) -> Plain:
    contracts = [each.contract for each in operations]
    answers = [answer for contract in contracts for answer in contract.answers.values()]
    kinds = [
        ErrorDocument,
        *(each.body for each in contracts if each.body),
        *(each.kind for each in answers if each.kind),
    ]
    _, components = msgspec.json.schema_components(kinds, schema_hook=_any, ref_template=REFERENCE)
    return dict(sorted(components.items()))


def _any(kind: type) -> Plain:
    """Describe what may be any JSON value."""
    return {"description": "any value"}
