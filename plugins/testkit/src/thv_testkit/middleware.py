"""The conformance class of middleware, through its recipe (:class:`thv_core.spi.MiddlewareRecipe`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from thv_core.errors import SettingsError
from thv_core.spi import LOCAL_USER, Exchange, Kind, Message, Middleware, MiddlewareRecipe, Outcome, Reply, Stage

__all__ = ["MiddlewareContract", "tool_call", "tool_result"]


def tool_call(name: str = "echo", arguments: bytes = b'{"text":"hello"}', *, number: int = 1) -> Exchange:
    """Return the exchange of a client that calls a tool, as a stage after authentication and parsing sees it."""
    params = {"name": msgspec.json.encode(name), "arguments": arguments}
    request = Message(
        kind=Kind.REQUEST,
        id=str(number).encode(),
        method="tools/call",
        params=params,
        has_params=True,
        name=name,
    )
    body = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%b,"arguments":%b}}'
    headers = ((b"host", b"127.0.0.1:19001"), (b"content-type", b"application/json"))
    return Exchange(
        workload="time",
        method="POST",
        path="/mcp",
        headers=headers,
        client="127.0.0.1",
        body=body % (number, params["name"], arguments),
        message=request,
        identity=LOCAL_USER,
        session="session-1",
    )


def tool_result(exchange: Exchange, result: bytes = b'{"content":[{"type":"text","text":"hello"}]}') -> Message:
    """Return the server's answer to an exchange of :func:`tool_call`."""
    return Message(kind=Kind.RESPONSE, id=exchange.message.id if exchange.message else b"1", result=result)


class MiddlewareContract:
    """What every middleware does. Give the fixture ``recipe``, and ``parameters`` if it needs any.

    ``exchange`` is a ``tools/call`` that the middleware lets pass with these parameters.
    """

    patience: float = 0.1
    """Seconds for which one call may keep the gateway's event loop from everybody else."""

    @pytest.fixture
    def recipe(self) -> MiddlewareRecipe:
        """Give the recipe under test."""
        raise NotImplementedError("give a fixture named recipe")

    @pytest.fixture
    def parameters(self) -> Mapping[str, object]:
        """Give parameters with which it can be built."""
        return {}

    @pytest.fixture
    def wrong_parameters(self, parameters: Mapping[str, object]) -> Mapping[str, object]:
        """Give parameters that it refuses."""
        return {**parameters, "no_such_parameter": 1}

    @pytest.fixture
    def exchange(self) -> Exchange:
        """Give an exchange that it lets pass."""
        return tool_call()

    @pytest.fixture
    def middleware(self, recipe: MiddlewareRecipe, parameters: Mapping[str, object]) -> Middleware:
        """Give a middleware that was built from the recipe."""
        return recipe.build(parameters)

    def test_the_recipe_has_a_name_and_a_stage(self, recipe: MiddlewareRecipe) -> None:
        assert recipe.name
        assert recipe.name == recipe.name.strip()
        assert recipe.stage in Stage

    def test_what_is_built_keeps_to_the_stage_of_its_recipe(
        self, recipe: MiddlewareRecipe, middleware: Middleware
    ) -> None:
        assert middleware.stage is recipe.stage

    def test_every_workload_gets_one_of_its_own(
        self, recipe: MiddlewareRecipe, parameters: Mapping[str, object]
    ) -> None:
        assert recipe.build(parameters) is not recipe.build(parameters)

    def test_wrong_parameters_are_refused(
        self, recipe: MiddlewareRecipe, wrong_parameters: Mapping[str, object]
    ) -> None:
        with pytest.raises(SettingsError):
            recipe.build(wrong_parameters)

    def test_every_method_is_asynchronous(self, middleware: Middleware) -> None:
        for method in (middleware.on_request, middleware.on_message, middleware.on_end):
            assert inspect.iscoroutinefunction(method), method

    def test_an_exchange_passes_and_ends(self, middleware: Middleware, exchange: Exchange) -> None:
        async def pass_through() -> None:
            assert await middleware.on_request(exchange) is None
            answer = await middleware.on_message(exchange, tool_result(exchange))
            assert isinstance(answer, Message)
            assert answer.kind is Kind.RESPONSE
            await middleware.on_end(exchange, Outcome(status=200, seconds=0.01))

        asyncio.run(pass_through())

    def test_a_message_is_replaced_and_never_changed(self, middleware: Middleware, exchange: Exchange) -> None:
        request, answer = exchange.message, tool_result(exchange)
        assert request is not None
        before = (msgspec.structs.replace(request, params=dict(request.params)), msgspec.structs.replace(answer))

        async def pass_through() -> None:
            await middleware.on_request(exchange)
            await middleware.on_message(exchange, answer)

        asyncio.run(pass_through())
        assert (request, answer) == before

    def test_a_notification_of_the_server_stays_one(self, middleware: Middleware, exchange: Exchange) -> None:
        params = {"level": b'"info"', "data": b'"hello"'}
        notification = Message(kind=Kind.NOTIFICATION, method="notifications/message", params=params, has_params=True)

        async def pass_through() -> Message:
            await middleware.on_request(exchange)
            return await middleware.on_message(exchange, notification)

        assert asyncio.run(pass_through()).kind is Kind.NOTIFICATION

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_an_exchange_without_a_message_is_no_error(
        self, middleware: Middleware, exchange: Exchange, method: str
    ) -> None:
        bodiless = replace(exchange, method=method, body=b"", message=None, notes={})

        async def pass_through() -> Reply | None:
            reply = await middleware.on_request(bodiless)
            await middleware.on_end(bodiless, Outcome(status=405, seconds=0.0))
            return reply

        reply = asyncio.run(pass_through())
        assert reply is None or isinstance(reply, Reply)

    def test_an_exchange_that_failed_ends_too(self, middleware: Middleware, exchange: Exchange) -> None:
        async def fail() -> None:
            await middleware.on_request(exchange)
            await middleware.on_end(exchange, Outcome(status=502, seconds=1.0, error="upstream-gone"))

        asyncio.run(fail())

    def test_exchanges_at_the_same_time_do_not_mix(
        self, recipe: MiddlewareRecipe, parameters: Mapping[str, object], exchange: Exchange
    ) -> None:
        middleware = recipe.build(parameters)
        exchanges = [replace(exchange, session=f"session-{number}", notes={}) for number in range(20)]

        async def one(each: Exchange) -> Reply | None:
            reply = await middleware.on_request(each)
            await asyncio.sleep(0)
            answer = await middleware.on_message(each, tool_result(each, b'{"of":"%b"}' % each.session.encode()))
            await middleware.on_end(each, Outcome(status=200, seconds=0.01))
            assert each.session.encode() in answer.result
            return reply

        async def together() -> list[Reply | None]:
            return await asyncio.gather(*map(one, exchanges))

        for reply in asyncio.run(together()):
            assert reply is None or isinstance(reply, Reply)

    def test_it_does_not_block_the_event_loop(self, middleware: Middleware, exchange: Exchange) -> None:
        async def longest_silence() -> float:
            task = asyncio.ensure_future(middleware.on_request(exchange))
            longest, before = 0.0, time.monotonic()
            while not task.done():
                await asyncio.sleep(0)
                longest, before = max(longest, time.monotonic() - before), time.monotonic()
            return longest

        # The best of three, because a busy machine is silent, too.
        assert min(asyncio.run(longest_silence()) for _ in range(3)) < self.patience
