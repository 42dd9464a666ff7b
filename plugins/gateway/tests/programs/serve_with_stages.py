"""Serve with middleware of our own: what a plugin could do, good and bad."""

import json
import sys
from pathlib import Path

import msgspec

from thv_core.model.identity import Identity
from thv_core.spi import GatewaySeat, Middleware, MiddlewareRecipe, Reply, Stage
from thv_gateway.gateway import HttpGateway


class Recorder(Middleware):
    """Writes what it sees to a file: the plugin of an auditor."""

    stage = Stage.AUDIT

    def __init__(self, parameters):
        self.path = Path(parameters["path"])

    def note(self, *words):
        with self.path.open("a") as file:
            file.write(json.dumps(words) + "\n")

    async def on_request(self, exchange):
        self.note("request", exchange.method)

    async def on_message(self, exchange, message):
        self.note("message", message.kind.value, message.method)
        return message

    async def on_end(self, exchange, outcome):
        message = exchange.message
        self.note("end", outcome.status, outcome.error, message.name if message else "")


class Renamer(Middleware):
    """Calls the tool ``echo`` whatever was asked for, and rewrites the answer."""

    stage = Stage.MUTATE

    def __init__(self, parameters):
        self.parameters = parameters

    async def on_request(self, exchange):
        message = exchange.message
        if message is not None and message.method == "tools/call":
            params = {**message.params, "name": b'"echo"'}
            exchange.message = msgspec.structs.replace(message, params=params, name="echo")

    async def on_message(self, exchange, message):
        if b"secret" in message.result:
            return msgspec.structs.replace(message, result=message.result.replace(b"secret", b"******"))
        return message


class Refuser(Middleware):
    stage = Stage.AUTHORIZE

    def __init__(self, parameters):
        self.parameters = parameters

    async def on_request(self, exchange):
        if exchange.message is not None and exchange.message.name == "count":
            return Reply(403, b'{"refused":true}')
        return None


class Namer(Middleware):
    """Believes the client: whoever it says that it is, it is."""

    stage = Stage.AUTHENTICATE

    def __init__(self, parameters):
        self.parameters = parameters

    async def on_request(self, exchange):
        named = dict(exchange.headers).get(b"x-user")
        if named is not None:
            exchange.identity = Identity(subject=named.decode(), issuer="https://issuer.example")


class Raiser(Middleware):
    stage = Stage.VALIDATE

    def __init__(self, parameters):
        self.where = parameters["where"]

    def fail(self, where, exchange):
        if where == self.where and exchange.message is not None and exchange.message.method == "tools/call":
            raise RuntimeError("the plugin is broken")

    async def on_request(self, exchange):
        self.fail("request", exchange)

    async def on_message(self, exchange, message):
        self.fail("message", exchange)
        return message

    async def on_end(self, exchange, outcome):
        self.fail("end", exchange)


if __name__ == "__main__":
    recipes = {
        each.__name__.lower(): MiddlewareRecipe(each.__name__.lower(), each.stage, each)
        for each in (Recorder, Renamer, Refuser, Namer, Raiser)
    }
    HttpGateway().serve(GatewaySeat(Path(sys.argv[1]), int(sys.argv[2]), recipes))
