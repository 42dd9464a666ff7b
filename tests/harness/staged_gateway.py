"""A gateway with a plugin of our own at every stage that sees everything and changes nothing: nobody relays blindly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from thv_core.spi import Exchange, GatewaySeat, Middleware, MiddlewareConfig, MiddlewareRecipe, Outcome, Reply, Stage
from thv_gateway.gateway import HttpGateway

EVERYWHERE = tuple(MiddlewareConfig(type=f"seen-{stage.name.lower()}") for stage in Stage)
"""What a route asks for to have one at every stage."""


class Seen(Middleware):
    """Looks at each request, each message and each end."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.seen = 0

    async def on_request(self, exchange: Exchange) -> Reply | None:
        self.seen += 1
        return None

    async def on_message(self, exchange: Exchange, message: Any) -> Any:
        self.seen += 1
        return message

    async def on_end(self, exchange: Exchange, outcome: Outcome) -> None:
        self.seen += 1


def recipe(stage: Stage) -> MiddlewareRecipe:
    """Return the recipe of one stage."""
    return MiddlewareRecipe(f"seen-{stage.name.lower()}", stage, lambda _: Seen(stage))


if __name__ == "__main__":
    recipes = {each.name: each for each in map(recipe, Stage)}
    HttpGateway().serve(GatewaySeat(Path(sys.argv[1]), int(sys.argv[2]), recipes))
