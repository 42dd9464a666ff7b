"""The fixture as one server of the SDK."""

from __future__ import annotations

from typing import Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import ListenHandler

from harness.dual_era import prompts, resources, tools
from harness.dual_era.asking import Asking, InputNeeded
from harness.dual_era.telling import Context, Telling

NAME = "dual-era-fixture"

CACHED = ("tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read")


class FixtureServer(Server[Any]):
    """A server that says of all its lists that they change."""

    def create_initialization_options(self, *_: Any, **__: Any) -> Any:
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(changes)


class Handlers:
    """What the server answers."""

    def __init__(self, telling: Telling) -> None:
        self.scene = tools.Scene(telling)

    async def list_tools(self, _: Context, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools.listed(self.scene))

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        call = tools.Call(self.scene, Asking(context, params), params.arguments or {})
        try:
            return await tools.result(call, params.name)
        except InputNeeded as needed:
            return needed.result

    async def list_prompts(self, _: Context, __: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[offer.prompt for offer in prompts.OFFERS.values()])

    async def get_prompt(
        self, context: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        try:
            return await prompts.messages(Asking(context, params), params.name, params.arguments or {})
        except InputNeeded as needed:
            return needed.result

    async def list_resources(self, _: Context, __: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=resources.LISTED)

    async def list_templates(self, _: Context, __: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=[resources.TEMPLATE])

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return resources.read(params.uri, context.protocol_version, self.scene.updates)

    async def complete(self, _: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
        return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


def build() -> FixtureServer:
    """Return the server; each has lists and subscriptions of its own."""
    telling = Telling()
    handlers = Handlers(telling)
    server = FixtureServer(
        NAME,
        version="1.0",
        instructions="Ask me anything.",
        cache_hints={method: CacheHint(ttl_ms=1000, scope="public") for method in CACHED},
        get_tool_input_schema=lambda name: tools.OFFERS[name][0].input_schema if name in tools.OFFERS else None,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_completion=handlers.complete,
        on_subscribe_resource=telling.subscribe,
        on_unsubscribe_resource=telling.unsubscribe,
        on_subscriptions_listen=ListenHandler(telling.bus),
        on_set_logging_level=telling.set_level,
    )
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    server.middleware.append(telling.meet)
    return server
