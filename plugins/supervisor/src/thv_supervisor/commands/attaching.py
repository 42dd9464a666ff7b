"""Stay attached to a workload: its log on standard error until the user has seen enough."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from thv_core.errors import NotFound, StartFailed, Unavailable
from thv_supervisor.wire import workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["attach", "ended_by_signals"]

ENDS = (signal.SIGTERM, signal.SIGHUP)
OVER = ("stopping", "stopped", "removing", "error")
WHOLE = 100_000
"""Lines of a life of the server that were not seen yet: all of them, bounded."""

PAUSE = 0.2


@contextmanager
def ended_by_signals(wanted: bool) -> Generator[None]:
    """Let SIGTERM, and the end of the terminal, be what Ctrl-C is, if that is wanted."""
    numbers = ENDS if wanted else ()
    former = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def attach(console: Console, client: Any, name: str, end: Callable[[], None]) -> None:
    """Show the log of a workload until Ctrl-C, which ends it, or until it does not run any more.

    :param end: ends the workload as its command says; what is gone already is no error.
    :raises StartFailed: when it was given up because it does not stay up; it was ended, too.
    """
    try:
        last = _watch(client, name)
    except KeyboardInterrupt:
        with suppress(NotFound):
            end()
        return
    if last.get("status") != "error":
        console.message(f"{name} does not run any more")
        return
    with suppress(NotFound):
        end()
    raise StartFailed(f"{name} does not stay up", evidence=[str(last.get("status_context", ""))])


def _watch(client: Any, name: str) -> dict[str, Any]:
    """Show the log of each life of a workload; return the last view of it, empty when it was removed."""
    seen = ""
    while True:
        try:
            view: dict[str, Any] = client.call("GET", workload_path(name, "status"))
        except NotFound:
            return {}
        if view["status"] in OVER:
            return view
        life = f"{view['started_at']} {view['restarts']}" if view["started_at"] else ""
        if life:
            _show(client, name, 0 if life == seen else WHOLE)
            seen = life
        time.sleep(PAUSE)


def _show(client: Any, name: str, tail: int) -> None:
    """Show the log of the present life until it ends, or until control is replaced."""
    try:
        for chunk in client.chunks(workload_path(name, f"logs?follow=true&tail={tail}")):
            sys.stderr.buffer.write(chunk)
            sys.stderr.buffer.flush()
    except (NotFound, Unavailable):  # the next look says what became of it
        return
