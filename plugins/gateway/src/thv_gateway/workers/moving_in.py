"""Before several processes begin: what one alone knew of sessions becomes known to all, or the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from thv_core.errors import InvalidDocument
from thv_core.spi.gateways import ROUTES_FILE
from thv_gateway.servers.routes import read_snapshot
from thv_gateway.servers.several import is_common
from thv_gateway.sessions.file_store import COMMON_FILE, forget_common, seed_common
from thv_gateway.sessions.key import session_key
from thv_gateway.sessions.memory import SESSIONS_FILE, Memory
from thv_gateway.sessions.sharing import records_of

__all__ = ["move_in", "move_out"]


def move_in(folder: Path) -> None:
    """Make the key and the store of several processes, with the sessions that a single one has left."""
    session_key(folder)
    seed_common(folder / COMMON_FILE, _remembered(folder))


def move_out(folder: Path) -> None:
    """Forget the store of several processes: one alone would let it become old."""
    forget_common(folder / COMMON_FILE)


def _remembered(folder: Path) -> Iterator[tuple[str, bytes, float]]:
    memory = Memory(folder / SESSIONS_FILE)
    try:
        routes = read_snapshot(folder / ROUTES_FILE).routes
    except InvalidDocument:
        # The processes say so themselves.
        return
    for route in routes:
        if is_common(route) and route.terms.session_redis is None:
            for name, record in records_of(route.workload, memory.of(route.workload)):
                yield name, record, route.terms.session_ttl
