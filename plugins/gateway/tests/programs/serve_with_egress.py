"""Serve with an egress that writes down what it is given."""

import asyncio
import sys
from pathlib import Path

from thv_core.errors import Unsupported
from thv_core.spi import Egress, GatewaySeat, OutletPlan, SocketKind
from thv_gateway.gateway import HttpGateway

FOLDER = Path(sys.argv[1])


class Opened:
    def __init__(self, outlet):
        self.outlet = outlet

    def close(self):
        note("close", self.outlet.incarnation)
        for _, each in self.outlet.sockets:
            asyncio.get_running_loop().remove_reader(each)
            each.close()


class RecordingEgress(Egress):
    def plan(self, network):
        return OutletPlan()

    def open(self, outlet):
        if outlet.workload == "refused" and not (FOLDER / "relent").exists():
            raise Unsupported("not this one")
        if outlet.workload == "broken":
            raise ZeroDivisionError
        sockets = [f"{made.kind}:{made.port}" for made, _ in outlet.sockets]
        blocking = any(each.getblocking() for _, each in outlet.sockets)
        inheritable = any(each.get_inheritable() for _, each in outlet.sockets)
        note(
            "open",
            outlet.incarnation,
            *sockets,
            "proxies",
            *outlet.proxies,
            "blocking",
            blocking,
            "inheritable",
            inheritable,
        )
        for made, each in outlet.sockets:
            if made.kind == SocketKind.PROXY:
                asyncio.get_running_loop().add_reader(each, self.accepted, each, outlet)
        return Opened(outlet)

    def accepted(self, listener, outlet):
        connection, _ = listener.accept()
        note(*(f"{call.method} {call.name} {call.session} {call.user}" for call in outlet.calls()))
        connection.close()

    def records(self, *, workload="", follow=False):
        return iter(())


def note(*words):
    with (FOLDER / "egress.log").open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


HttpGateway().serve(GatewaySeat(FOLDER, int(sys.argv[2]), egress=RecordingEgress))
