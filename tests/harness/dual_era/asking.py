"""What a call asks its client, written once: requests of the server in the legacy era, further rounds in the modern."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

ANSWERS: dict[type[BaseModel], type[BaseModel]] = {
    types.ElicitRequest: types.ElicitResult,
    types.CreateMessageRequest: types.CreateMessageResult,
    types.ListRootsRequest: types.ListRootsResult,
}
CAPABILITIES = {
    types.ElicitRequest: types.ClientCapabilities(elicitation=types.ElicitationCapability()),
    types.CreateMessageRequest: types.ClientCapabilities(sampling=types.SamplingCapability()),
    types.ListRootsRequest: types.ClientCapabilities(roots=types.RootsCapability()),
}


class InputNeeded(Exception):
    """Ends a call of the modern era: its client answers first, and calls again."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("the client is asked first")
        self.result = result


class Asking:
    """What one call may ask. A call that asks twice runs anew in each round: its state has the answers so far.

    In the legacy era it asks also what the client did not declare, as most servers do.
    """

    def __init__(self, context: ServerRequestContext[Any, Any], params: types.InputResponseRequestParams) -> None:
        self.context = context
        self.modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
        self._given = params.input_responses or {}
        self._known: dict[str, Any] = json.loads(params.request_state or "{}")

    def declared(self, request: types.InputRequest) -> bool:
        """Tell whether the client declared that it answers such requests."""
        return self.context.session.check_client_capability(CAPABILITIES[type(request)])

    async def answers(self, requests: Mapping[str, types.InputRequest]) -> dict[str, Any]:
        """Return the answers to all of them, each under the key of its request."""
        if not self.modern:
            return await self._at_once(requests)
        for request in requests.values():
            if not self.declared(request):
                self._refuse(request)
        return self._of_rounds(requests)

    def _refuse(self, request: types.InputRequest) -> None:
        needed = CAPABILITIES[type(request)].model_dump(by_alias=True, exclude_none=True)
        data = {"requiredCapabilities": needed}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, f"this needs {', '.join(needed)}", data)

    def _of_rounds(self, requests: Mapping[str, types.InputRequest]) -> dict[str, Any]:
        found = {}
        for key, request in requests.items():
            kind = ANSWERS[type(request)]
            if key in self._known:
                found[key] = kind.model_validate(self._known[key])
            elif isinstance(self._given.get(key), kind):
                found[key] = self._given[key]
        missing = {key: request for key, request in requests.items() if key not in found}
        self._known |= {key: each.model_dump(mode="json", by_alias=True) for key, each in found.items()}
        if missing:
            raise InputNeeded(types.InputRequiredResult(input_requests=missing, request_state=json.dumps(self._known)))
        return found

    async def _at_once(self, requests: Mapping[str, types.InputRequest]) -> dict[str, Any]:
        about = ServerMessageMetadata(related_request_id=self.context.request_id)
        asked = (
            self.context.session.send_request(each, ANSWERS[type(each)], metadata=about) for each in requests.values()
        )
        return dict(zip(requests, await asyncio.gather(*asked), strict=True))


def form(message: str, properties: dict[str, Any], *required: str) -> types.ElicitRequest:
    """Return the question for a form with these properties."""
    schema = {"type": "object", "properties": properties, "required": list(required or properties)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str, most: int = 100) -> types.CreateMessageRequest:
    """Return the question for a model that has one message with this text."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=most))
