"""The prompts of the fixture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import mcp_types as types
from mcp import MCPError

from harness.dual_era.asking import Asking, form
from harness.dual_era.contents import embedded, picture, words

Arguments = Mapping[str, str]
Contents = list[types.ContentBlock]


@dataclass(frozen=True)
class Offer:
    """A prompt, and what makes its messages."""

    prompt: types.Prompt
    make: Callable[[Asking, Arguments], Awaitable[Contents]]


OFFERS: dict[str, Offer] = {}
_Make = Callable[[Asking, Arguments], Awaitable[Contents]]


def offered(description: str, *arguments: str) -> Callable[[_Make], _Make]:
    """Offer a function as a prompt of its name."""

    def offer(make: _Make) -> _Make:
        needed = [types.PromptArgument(name=each, description=f"The {each}", required=True) for each in arguments]
        name = make.__name__
        OFFERS[name] = Offer(types.Prompt(name=name, description=description, arguments=needed), make)
        return make

    return offer


@offered("One message")
async def test_simple_prompt(asking: Asking, arguments: Arguments) -> Contents:
    return [words("This is a simple prompt for testing.")]


@offered("Its message has the arguments", "arg1", "arg2")
async def test_prompt_with_arguments(asking: Asking, arguments: Arguments) -> Contents:
    return [words(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'")]


@offered("Its first message has a resource", "resourceUri")
async def test_prompt_with_embedded_resource(asking: Asking, arguments: Arguments) -> Contents:
    resource = embedded(arguments["resourceUri"], "Embedded resource content for testing.")
    return [resource, words("Please process the embedded resource above.")]


@offered("Its first message has an image")
async def test_prompt_with_image(asking: Asking, arguments: Arguments) -> Contents:
    return [picture(), words("Please analyze the image above.")]


@offered("Asks for the context")
async def test_input_required_result_prompt(asking: Asking, arguments: Arguments) -> Contents:
    question = form("What context should the prompt use?", {"context": {"type": "string"}})
    answer = (await asking.answers({"user_context": question}))["user_context"]
    return [words(f"The context is {(answer.content or {}).get('context')}")]


async def messages(asking: Asking, name: str, arguments: Arguments) -> types.GetPromptResult:
    """Return the messages of a prompt."""
    offer = OFFERS.get(name)
    if offer is None:
        raise MCPError(types.INVALID_PARAMS, f"there is no prompt {name}")
    missing = [each.name for each in offer.prompt.arguments or () if each.name not in arguments]
    if missing:
        raise MCPError(types.INVALID_PARAMS, f"missing arguments: {', '.join(missing)}")
    contents = await offer.make(asking, arguments)
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=each) for each in contents])
