"""The resources of the fixture."""

from __future__ import annotations

import json
import re

import mcp_types as types
from mcp import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from harness.dual_era.contents import PICTURE

TEXT, BINARY, WATCHED = "test://static-text", "test://static-binary", "test://watched-resource"
TEMPLATE = types.ResourceTemplate(
    name="template",
    uri_template="test://template/{id}/data",
    description="What is known of an id",
    mime_type="application/json",
)
LISTED = [
    types.Resource(name="static-text", uri=TEXT, description="A text", mime_type="text/plain"),
    types.Resource(name="static-binary", uri=BINARY, description="An image", mime_type="image/png"),
    types.Resource(name="watched", uri=WATCHED, description="A text that is updated", mime_type="text/plain"),
]

_LEGACY_NOT_FOUND = -32002


def read(uri: str, version: str, updates: int) -> types.ReadResourceResult:
    """Return what a resource has, of which the watched one says how often it was updated."""
    texts = {
        TEXT: "This is the content of the static text resource.",
        WATCHED: f"Watched, and updated {updates} times.",
    }
    contents: types.TextResourceContents | types.BlobResourceContents
    if uri in texts:
        contents = types.TextResourceContents(uri=uri, mime_type="text/plain", text=texts[uri])
    elif uri == BINARY:
        contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PICTURE)
    elif found := re.fullmatch(r"test://template/([^/]+)/data", uri):
        known = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
        contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=json.dumps(known))
    else:
        code = types.INVALID_PARAMS if version in MODERN_PROTOCOL_VERSIONS else _LEGACY_NOT_FOUND
        raise MCPError(code, "Resource not found", {"uri": uri})
    return types.ReadResourceResult(contents=[contents])
