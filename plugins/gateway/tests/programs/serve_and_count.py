"""Serve, and tell whoever asks how much of everything there is."""

import asyncio
import gc
import json
import sys
from collections import Counter
from pathlib import Path

from thv_core.spi import GatewaySeat, Middleware, MiddlewareRecipe, Reply, Stage
from thv_gateway.gateway import HttpGateway
from thv_gateway.pipes import event_stream
from thv_gateway.sessions.sessions import Session

KINDS = {"Call", "Mailbox", "EventStream", "Replay", "_Waiter", "Arrival", "Request"}


def sockets():
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            found += str(each.readlink()).startswith("socket:")
        except OSError:
            continue
    return found


class Counting(Middleware):
    """Answers a request that asks for it with the counts."""

    stage = Stage.AUDIT

    def __init__(self, parameters):
        self.parameters = parameters

    async def on_request(self, exchange):
        if not any(name == b"x-count" for name, _ in exchange.headers):
            return None
        gc.collect()
        things = gc.get_objects()
        kinds = Counter(type(each).__name__ for each in things if "thv_gateway" in str(type(each).__module__))
        counts = {kind: kinds[kind] for kind in KINDS}
        counts["calls of sessions"] = sum(each.calls for each in things if type(each) is Session)
        counts["streams of sessions"] = sum(each.stream is not None for each in things if type(each) is Session)
        counts["tasks"] = len(asyncio.all_tasks())
        counts["sockets"] = sockets()
        return Reply(200, json.dumps(counts).encode())


if __name__ == "__main__":
    event_stream.PARK_SECONDS = 0.2
    recipe = MiddlewareRecipe("counting", Counting.stage, Counting)
    HttpGateway().serve(GatewaySeat(Path(sys.argv[1]), int(sys.argv[2]), {"counting": recipe}))
