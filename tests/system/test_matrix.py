"""Every client meets every server: 2 eras of clients, 2 of servers, 3 transports and all that a client can do.

The servers are held to one era each. No cell is impossible but those in ``IMPOSSIBLE``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
import msgspec
import pytest
from harness.dual_era.resources import BINARY, TEXT, WATCHED
from harness.dual_era.running import HttpFixture, gateway_before, through_gateway
from mcp import Client, MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated, ToolsListChanged

from thv_core.model.route import RouteState
from thv_testkit.gateways import free_port

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

SECONDS = 20
MODES = {"legacy": ("legacy", "2025-11-25"), "modern": ("auto", "2026-07-28")}
SERVERS = [
    ("legacy", "streamable-http"),
    ("legacy", "sse"),
    ("legacy", "stdio"),
    ("modern", "streamable-http"),
    ("modern", "stdio"),
]

IMPOSSIBLE = {
    ("modern", "sse"): "The transports of 2026-07-28 are stdio and Streamable HTTP: 'HTTP+SSE' ended with 2024-11-05."
}

NOT_DECLARED = {
    "legacy": (types.METHOD_NOT_FOUND, types.INVALID_REQUEST, types.MISSING_REQUIRED_CLIENT_CAPABILITY),
    "modern": (types.MISSING_REQUIRED_CLIENT_CAPABILITY,),
}


@dataclass
class Ears:
    """What a client was told and asked."""

    logged: asyncio.Queue[types.LoggingMessageNotificationParams] = field(default_factory=asyncio.Queue)
    told: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logged.put_nowait(params)

    async def hear(self, message: Any) -> None:
        self.told.put_nowait(message)

    async def until(self, kind: type) -> Any:
        """Wait for a notification of a kind."""
        while not isinstance(message := await self.told.get(), kind):
            pass
        return message


async def elicited(_: Any, params: types.ElicitRequestFormParams) -> types.ElicitResult:
    assert params.message == "Who are you?"
    return types.ElicitResult(action="accept", content={"username": "ada", "email": "ada@example.test"})


async def sampled(_: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    assert params.messages[0].content.text == "What is it?"
    content = types.TextContent(type="text", text="a test")
    return types.CreateMessageResult(role="assistant", content=content, model="none", stop_reason="endTurn")


async def rooted(_: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///somewhere", name="somewhere")])


def said(result: types.CallToolResult) -> str:
    assert not result.is_error, result
    return str(result.content[0].text)


# What a client can do ------------------------------------------------------------------------------------------------


async def tools(client: Client, _: Ears) -> None:
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert listed["json_schema_2020_12_tool"].input_schema["$defs"]["address"]["$anchor"] == "addressDef"
    assert said(await client.call_tool("echo", {"text": "hällo\n"})) == "hällo\n"
    contents = (await client.call_tool("test_multiple_content_types")).content
    assert [each.type for each in contents] == ["text", "image", "resource"]
    assert (await client.call_tool("test_error_handling")).is_error
    with pytest.raises(MCPError) as refused:
        await client.call_tool("nobody-has-this")
    assert refused.value.code == types.INVALID_PARAMS


async def repeated_arguments(client: Client, _: Ears) -> None:
    await client.list_tools()
    assert said(await client.call_tool("test_custom_headers", {"region": "Zürich "})) == "in Zürich "


async def resources(client: Client, _: Ears) -> None:
    assert {str(each.uri) for each in (await client.list_resources()).resources} == {TEXT, BINARY, WATCHED}
    templates = (await client.list_resource_templates()).resource_templates
    assert [each.uri_template for each in templates] == ["test://template/{id}/data"]
    assert (await client.read_resource(TEXT)).contents[0].text.startswith("This is")
    assert (await client.read_resource(BINARY)).contents[0].blob
    assert json.loads((await client.read_resource("test://template/7/data")).contents[0].text)["id"] == "7"
    with pytest.raises(MCPError):
        await client.read_resource("test://nobody-has-this")


async def prompts(client: Client, _: Ears) -> None:
    assert "test_simple_prompt" in {each.name for each in (await client.list_prompts()).prompts}
    got = await client.get_prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
    assert "arg1='one', arg2='two'" in got.messages[0].content.text


async def completion(client: Client, _: Ears) -> None:
    about = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
    found = await client.complete(about, {"name": "arg1", "value": "par"})
    assert found.completion.values == ["paris", "park", "party"]


async def progress(client: Client, _: Ears) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(*report: Any) -> None:
        seen.append(report)

    assert said(await client.call_tool("test_tool_with_progress", progress_callback=note))
    assert seen == [(done, 100, f"Completed step {done} of 100") for done in (0, 50, 100)]


async def cancel(client: Client, _: Ears) -> None:
    began = asyncio.Event()

    async def note(*_: Any) -> None:
        began.set()

    before = json.loads(said(await client.call_tool("waits")))
    call = asyncio.create_task(client.call_tool("wait", progress_callback=note))
    await began.wait()
    assert json.loads(said(await client.call_tool("waits")))["waiting"] == before["waiting"] + 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    wanted = {"waiting": before["waiting"], "cancelled": before["cancelled"] + 1}
    # Each look is a call that takes its time; the bound is that of the whole test.
    while json.loads(said(await client.call_tool("waits"))) != wanted:
        pass


async def elicitation(client: Client, _: Ears) -> None:
    answer = said(await client.call_tool("test_elicitation", {"message": "Who are you?"}))
    assert answer.startswith("User response: action=accept")
    assert "ada@example.test" in answer


async def sampling(client: Client, _: Ears) -> None:
    assert said(await client.call_tool("test_sampling", {"prompt": "What is it?"})) == "LLM response: a test"


async def roots(client: Client, _: Ears) -> None:
    assert said(await client.call_tool("test_input_required_result_list_roots")) == "file:///somewhere"


async def subscribe(client: Client, ears: Ears) -> None:
    if client.protocol_version == MODES["modern"][1]:
        async with client.listen(resource_subscriptions=[WATCHED]) as events:
            await client.call_tool("test_trigger_resource_update")
            assert await anext(events) == ResourceUpdated(uri=WATCHED)
    else:
        await client.subscribe_resource(WATCHED)
        await client.call_tool("test_trigger_resource_update")
        assert str((await ears.until(types.ResourceUpdatedNotification)).params.uri) == WATCHED
        await client.unsubscribe_resource(WATCHED)


async def list_changed(client: Client, ears: Ears) -> None:
    before = {tool.name for tool in (await client.list_tools()).tools}
    if client.protocol_version == MODES["modern"][1]:
        async with client.listen(tools_list_changed=True, resources_list_changed=True) as events:
            await client.call_tool("test_trigger_tool_change")
            assert await anext(events) == ToolsListChanged()
            await client.call_tool("test_trigger_resource_change")
            assert await anext(events) == ResourcesListChanged()
    else:
        await client.call_tool("test_trigger_tool_change")
        await ears.until(types.ToolListChangedNotification)
        await client.call_tool("test_trigger_resource_change")
        await ears.until(types.ResourceListChangedNotification)
    after = {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}
    assert before ^ after == {"test_more_tools"}


async def logging(client: Client, ears: Ears) -> None:
    if client.protocol_version != MODES["modern"][1]:
        await client.set_logging_level("info")
    assert said(await client.call_tool("test_logging_tool")) == "three messages were logged"
    heard = [await ears.logged.get() for _ in range(2)]
    assert [(each.level, each.data) for each in heard] == [(each, f"a message of {each}") for each in ("info", "error")]
    assert ears.logged.empty()


async def several_at_once(client: Client, _: Ears) -> None:
    answers = await asyncio.gather(*(client.call_tool("echo", {"text": str(number)}) for number in range(20)))
    assert [said(each) for each in answers] == [str(number) for number in range(20)]


Act = Callable[[Client, Ears], Awaitable[None]]
ACTS: tuple[Act, ...] = (
    *(tools, repeated_arguments, resources, prompts, completion, progress, cancel, elicitation, sampling, roots),
    *(subscribe, list_changed, logging, several_at_once),
)


# The cells -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    era, transport = request.param
    with through_gateway(tmp_path_factory.mktemp("matrix") / "served", era, transport) as address:
        yield address


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("era", MODES)
@pytest.mark.parametrize("url", SERVERS, indirect=True, ids="-".join)
def test_a_client_of_either_era_does_everything_with_every_server(url: str, era: str, act: Act) -> None:
    mode, version = MODES[era]

    async def run() -> None:
        ears = Ears()
        callbacks = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": rooted}
        hearing = {"logging_callback": ears.log, "message_handler": ears.hear, "log_level": "info"}
        async with asyncio.timeout(SECONDS), Client(url, mode=mode, **callbacks, **hearing) as client:
            assert client.protocol_version == version
            await act(client, ears)

    asyncio.run(run())


@pytest.mark.parametrize("era", MODES)
@pytest.mark.parametrize("url", SERVERS, indirect=True, ids="-".join)
def test_a_client_that_cannot_be_asked_is_told_so(url: str, era: str) -> None:
    """A server of the legacy era asks all the same, and is refused."""

    async def run() -> None:
        async with asyncio.timeout(SECONDS), Client(url, mode=MODES[era][0]) as client:
            with pytest.raises(MCPError) as refused:
                await client.call_tool("test_sampling", {"prompt": "What is it?"})
            assert refused.value.code in NOT_DECLARED[era], refused.value

    asyncio.run(run())


@pytest.mark.parametrize(("era", "transport"), IMPOSSIBLE, ids="-".join)
def test_a_server_that_cannot_be_is_reported(
    era: str, transport: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("impossible")
    server = HttpFixture(folder, era)
    route = msgspec.structs.replace(server.route(free_port(), transport), start_timeout=3.0)
    try:
        with gateway_before(route, folder / "gateway") as gateway:
            assert gateway.until(RouteState.FAILED, route.incarnation).reason
    finally:
        server.stop()
