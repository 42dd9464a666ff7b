from __future__ import annotations

import asyncio

from thv_core.spi import Exchange, Kind, Message, Middleware, Outcome, Stage


class Nothing(Middleware):
    stage = Stage.MUTATE


def test_a_middleware_inherits_what_it_does_not_need() -> None:
    exchange = Exchange(workload="time", method="POST", path="/mcp", headers=(), body=b"s3cret")
    message = Message(kind=Kind.RESPONSE, id=b"1", result=b"{}")
    middleware = Nothing()

    async def pass_through() -> tuple[object, Message]:
        reply = await middleware.on_request(exchange)
        answered = await middleware.on_message(exchange, message)
        await middleware.on_end(exchange, Outcome(status=200, seconds=0.1))
        return reply, answered

    assert asyncio.run(pass_through()) == (None, message)
    assert "s3cret" not in repr(exchange)


def test_nothing_slips_before_authentication_that_reads_a_message() -> None:
    order = list(Stage)
    assert order == sorted(order)
    before = order[: order.index(Stage.AUTHENTICATE)]
    assert before == [Stage.RECOVER, Stage.AUDIT, Stage.TELEMETRY, Stage.ORIGIN, Stage.BODY_LIMIT]
    assert Stage.TOOL_NAMES < Stage.TOOL_GATE < Stage.AUTHORIZE < Stage.CREDENTIALS
