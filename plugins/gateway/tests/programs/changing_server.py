"""A server on the low level of the real SDK whose tools and resources change, and which asks its client all it can."""

import asyncio

import mcp_types as types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server

TOOLS = ["touch", "change", "interview", "hang", "hanging"]
hanging = {"now": 0, "ever": 0}
subscribed = set()


async def list_tools(context, params):
    schema = {"type": "object"}
    return types.ListToolsResult(tools=[types.Tool(name=name, input_schema=schema) for name in TOOLS])


async def list_resources(context, params):
    return types.ListResourcesResult(resources=[])


async def subscribe(context, params):
    subscribed.add(params.uri)
    return types.EmptyResult()


async def unsubscribe(context, params):
    subscribed.discard(params.uri)
    return types.EmptyResult()


async def call_tool(context, params):
    said = await ANSWERS[params.name](context, params.arguments or {})
    return types.CallToolResult(content=[types.TextContent(type="text", text=said)])


async def touch(context, arguments):
    if arguments["uri"] in subscribed:
        await context.session.send_resource_updated(arguments["uri"])
    return "touched"


async def change(context, arguments):
    await context.session.send_tool_list_changed()
    return "changed"


async def interview(context, arguments):
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    name = await context.session.elicit_form("Who is there?", schema)
    question = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="Say something."))
    said = await context.session.create_message([question], max_tokens=10)
    roots = await context.session.list_roots()
    return f"{name.content['name']} {said.content.text} {roots.roots[0].uri}"


async def hang(context, arguments):
    hanging["now"] += 1
    hanging["ever"] += 1
    try:
        await asyncio.sleep(60)
    finally:
        hanging["now"] -= 1
    return "never"


async def count_hanging(context, arguments):
    return f"{hanging['now']} of {hanging['ever']}"


ANSWERS = {"touch": touch, "change": change, "interview": interview, "hang": hang, "hanging": count_hanging}

server = Server(
    "changing",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_resources=list_resources,
    on_subscribe_resource=subscribe,
    on_unsubscribe_resource=unsubscribe,
)


async def serve():
    options = server.create_initialization_options(NotificationOptions(tools_changed=True))
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, options)


if __name__ == "__main__":
    asyncio.run(serve())
