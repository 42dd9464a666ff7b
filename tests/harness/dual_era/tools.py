"""The tools of the fixture: those that the conformance suites name, and a few of our own for the matrix."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError

from harness.dual_era.asking import Asking, form, sample
from harness.dual_era.contents import embedded, picture, sound, words
from harness.dual_era.resources import WATCHED
from harness.dual_era.telling import Telling

Arguments = Mapping[str, Any]


@dataclass
class Scene:
    """What calls change: the lists, the watched resource, and what became of calls that were left waiting."""

    telling: Telling
    more_tools: bool = False
    updates: int = 0
    waiting: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class Call:
    """One call of a tool."""

    scene: Scene
    asking: Asking
    arguments: Arguments

    async def log(self, text: str, level: types.LoggingLevel = "info") -> None:
        """Send a log message about this call."""
        await self.scene.telling.log(self.asking.context, level, text)


Contents = list[types.ContentBlock] | str
Do = Callable[[Call], Awaitable[Contents]]


class Failed(Exception):
    """A tool that says it failed."""


OFFERS: dict[str, tuple[types.Tool, Do]] = {}


def offered(description: str, schema: Mapping[str, Any] | None = None, **properties: Any) -> Callable[[Do], Do]:
    """Offer a function as a tool of its name."""

    def offer(do: Do) -> Do:
        whole = schema or {"type": "object", "properties": properties, "required": list(properties)}
        OFFERS[do.__name__] = (types.Tool(name=do.__name__, description=description, input_schema=dict(whole)), do)
        return do

    return offer


TEXT = {"type": "string"}


@offered("Returns a text")
async def test_simple_text(call: Call) -> Contents:
    return "This is a simple text response for testing."


@offered("Returns an image")
async def test_image_content(call: Call) -> Contents:
    return [picture()]


@offered("Returns a recording")
async def test_audio_content(call: Call) -> Contents:
    return [sound()]


@offered("Returns a resource")
async def test_embedded_resource(call: Call) -> Contents:
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


@offered("Returns a text, an image and a resource")
async def test_multiple_content_types(call: Call) -> Contents:
    data = json.dumps({"test": "data", "value": 123})
    resource = embedded("test://mixed-content-resource", data, "application/json")
    return [words("Multiple content types test:"), picture(), resource]


@offered("Always fails")
async def test_error_handling(call: Call) -> Contents:
    raise Failed("This tool intentionally returns an error for testing")


@offered("Returns its argument", text=TEXT)
async def echo(call: Call) -> Contents:
    return str(call.arguments["text"])


@offered("Greets somebody at once, also where other tools make tasks", name=TEXT)
async def greet(call: Call) -> Contents:
    return f"Hello, {call.arguments['name']}!"


# Messages while a call goes on ---------------------------------------------------------------------------------------


@offered("Sends three log messages")
async def test_tool_with_logging(call: Call) -> Contents:
    for text in ("Tool execution started", "Tool processing data"):
        await call.log(text)
        await anyio.sleep(0.05)
    await call.log("Tool execution completed")
    return "Tool with logging executed successfully"


@offered("Sends a log message of each of three levels")
async def test_logging_tool(call: Call) -> Contents:
    for level in ("debug", "info", "error"):
        await call.log(f"a message of {level}", level)
    return "three messages were logged"


@offered("Reports its progress three times")
async def test_tool_with_progress(call: Call) -> Contents:
    for done in (0, 50, 100):
        await call.asking.context.session.report_progress(done, 100, f"Completed step {done} of 100")
        await anyio.sleep(0.05)
    return "progress was reported"


@offered("Closes the stream of its own answer before it answers")
async def test_reconnection(call: Call) -> Contents:
    await call.log("Before disconnect")
    close = call.asking.context.close_sse_stream
    if close is not None:
        await close()
        await anyio.sleep(0.2)
    await call.log("After reconnect")
    return "Reconnection test completed"


@offered("Waits until it is cancelled")
async def wait(call: Call) -> Contents:
    call.scene.waiting += 1
    try:
        await call.asking.context.session.report_progress(1, None, "waiting")
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        call.scene.cancelled += 1
        raise
    finally:
        call.scene.waiting -= 1


@offered("Says how many calls are waiting, and how many were cancelled")
async def waits(call: Call) -> Contents:
    return json.dumps({"waiting": call.scene.waiting, "cancelled": call.scene.cancelled})


# Changes -------------------------------------------------------------------------------------------------------------


@offered("Adds a tool, or takes it away")
async def test_trigger_tool_change(call: Call) -> Contents:
    call.scene.more_tools = not call.scene.more_tools
    await call.scene.telling.changed("tools")
    return "the list of tools changed"


@offered("Says that the list of prompts changed")
async def test_trigger_prompt_change(call: Call) -> Contents:
    await call.scene.telling.changed("prompts")
    return "the list of prompts changed"


@offered("Says that the list of resources changed")
async def test_trigger_resource_change(call: Call) -> Contents:
    await call.scene.telling.changed("resources")
    return "the list of resources changed"


@offered("Updates the watched resource")
async def test_trigger_resource_update(call: Call) -> Contents:
    call.scene.updates += 1
    await call.scene.telling.updated(WATCHED)
    return "the resource was updated"


# Questions to the client ---------------------------------------------------------------------------------------------


def _content(answer: types.ElicitResult) -> str:
    return f"action={answer.action}, content={json.dumps(answer.content or {})}"


async def _elicited(call: Call, key: str, request: types.ElicitRequest) -> Any:
    return (await call.asking.answers({key: request}))[key]


@offered("Asks a model of the client", prompt=TEXT)
async def test_sampling(call: Call) -> Contents:
    answer = (await call.asking.answers({"model": sample(call.arguments["prompt"])}))["model"]
    return f"LLM response: {answer.content.text}"


@offered("Asks the user of the client", message=TEXT)
async def test_elicitation(call: Call) -> Contents:
    about = {name: {"type": "string", "description": f"User's {name}"} for name in ("username", "email")}
    return f"User response: {_content(await _elicited(call, 'user', form(call.arguments['message'], about)))}"


@offered("Asks with a default for each type")
async def test_elicitation_sep1034_defaults(call: Call) -> Contents:
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    question = form("Please review your data", properties, "name")
    return f"Elicitation completed: {_content(await _elicited(call, 'user', question))}"


@offered("Asks for choices in each way that there is")
async def test_elicitation_sep1330_enums(call: Call) -> Contents:
    options = ["option1", "option2", "option3"]
    titled = [{"const": f"value{number}", "title": f"Choice {number}"} for number in (1, 2, 3)]
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return f"Elicitation completed: {_content(await _elicited(call, 'user', form('Please choose', properties)))}"


@offered("Needs a model of the client")
async def test_missing_capability(call: Call) -> Contents:
    await call.asking.answers({"model": sample("Is anybody there?")})
    return "the client has a model"


@offered("Asks the user while its answer is a stream")
async def test_streaming_elicitation(call: Call) -> Contents:
    await call.asking.context.session.report_progress(1, 2)
    return _content(await _elicited(call, "user", form("Go on?", {"yes": {"type": "boolean"}})))


NAME = form("What is your name?", {"name": TEXT})
CONFIRM = form("Please confirm", {"ok": {"type": "boolean"}})


@offered("Asks for a name")
async def test_input_required_result_elicitation(call: Call) -> Contents:
    answer = await _elicited(call, "user_name", NAME)
    return f"Hello, {(answer.content or {}).get('name', answer.action)}!"


@offered("Asks a model for the capital of France")
async def test_input_required_result_sampling(call: Call) -> Contents:
    answer = await call.asking.answers({"capital_question": sample("What is the capital of France?")})
    return str(answer["capital_question"].content.text)


@offered("Asks for the roots")
async def test_input_required_result_list_roots(call: Call) -> Contents:
    answer = await call.asking.answers({"client_roots": types.ListRootsRequest()})
    return ", ".join(str(root.uri) for root in answer["client_roots"].roots)


@offered("Asks for a confirmation, with a state")
async def test_input_required_result_request_state(call: Call) -> Contents:
    await _elicited(call, "confirm", CONFIRM)
    return "state-ok"


@offered("Asks for a confirmation, with a state that nobody may change")
async def test_input_required_result_tampered_state(call: Call) -> Contents:
    await _elicited(call, "confirm", CONFIRM)
    return "confirmed"


@offered("Asks the user, a model and for the roots at once")
async def test_input_required_result_multiple_inputs(call: Call) -> Contents:
    greeting, roots = sample("Generate a greeting", 50), types.ListRootsRequest()
    answers = await call.asking.answers({"user_name": NAME, "greeting": greeting, "client_roots": roots})
    return f"{answers['greeting'].content.text} {(answers['user_name'].content or {}).get('name')}"


@offered("Asks for a name, then for a colour")
async def test_input_required_result_multi_round(call: Call) -> Contents:
    name = await _elicited(call, "step1", form("Step 1: What is your name?", {"name": TEXT}))
    colour = await _elicited(call, "step2", form("Step 2: What is your favorite color?", {"color": TEXT}))
    return f"{(name.content or {}).get('name')} likes {(colour.content or {}).get('color')}"


@offered("Asks whatever the client can answer")
async def test_input_required_result_capabilities(call: Call) -> Contents:
    possible = {"name": NAME, "model": sample("Say something."), "roots": types.ListRootsRequest()}
    answers = await call.asking.answers({key: each for key, each in possible.items() if call.asking.declared(each)})
    return f"answered: {', '.join(sorted(answers))}"


# Schemas -------------------------------------------------------------------------------------------------------------

_CONTACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": TEXT, "city": TEXT}}},
    "properties": {
        "name": TEXT,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": TEXT,
        "email": TEXT,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@offered("Has a schema with the words of 2020-12", _CONTACT)
async def json_schema_2020_12_tool(call: Call) -> Contents:
    return json.dumps(dict(call.arguments))


@offered("Has an argument that is repeated in a header", region={"type": "string", "x-mcp-header": "Region"})
async def test_custom_headers(call: Call) -> Contents:
    return f"in {call.arguments['region']}"


async def test_more_tools(call: Call) -> Contents:
    return "I am not always there"


SOMETIMES = types.Tool(name="test_more_tools", description="Is not always there", input_schema={"type": "object"})


def listed(scene: Scene) -> list[types.Tool]:
    """Return the tools that there are now."""
    return [tool for tool, _ in OFFERS.values()] + ([SOMETIMES] if scene.more_tools else [])


async def result(call: Call, name: str) -> types.CallToolResult:
    """Return what a tool says."""
    _, do = (SOMETIMES, test_more_tools) if name == SOMETIMES.name else OFFERS.get(name, (None, None))
    if do is None:
        raise MCPError(types.INVALID_PARAMS, f"there is no tool {name}")
    try:
        contents = await do(call)
    except Failed as failure:
        return types.CallToolResult(content=[words(str(failure))], is_error=True)
    return types.CallToolResult(content=[words(contents)] if isinstance(contents, str) else contents)
