"""A gateway with a plugin of our own that sees everything and changes nothing: nothing is relayed blindly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from thv_core.spi import Exchange, GatewaySeat, Middleware, MiddlewareRecipe, Reply, Stage
from thv_gateway.gateway import HttpGateway


class Seen(Middleware):
    """Looks at each message."""

    stage = Stage.MUTATE

    def __init__(self, _: Any) -> None:
        self.seen = 0

    async def on_request(self, exchange: Exchange) -> Reply | None:
        self.seen += 1
        return None

    async def on_message(self, exchange: Exchange, message: Any) -> Any:
        self.seen += 1
        return message


if __name__ == "__main__":
    recipes = {"seen": MiddlewareRecipe("seen", Seen.stage, Seen)}
    HttpGateway().serve(GatewaySeat(Path(sys.argv[1]), int(sys.argv[2]), recipes))
