"""Do one thing to several workloads at once, a few at a time, and bound how long one thing takes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from thv_core.errors import ThvError, TimedOut

__all__ = ["Outcome", "failed", "together", "within"]

T = TypeVar("T")

MOST = 8
"""How many are under way at once."""


class Outcome(NamedTuple):
    """What became of one workload: what the act returned, or the error that it raised."""

    name: str
    result: Any = None
    failure: BaseException | None = None


def together(names: Sequence[str], act: Callable[[str], object]) -> Iterator[Outcome]:
    """Yield the outcome of each as it is there; an error keeps no other from its turn.

    :raises Exception: what an act raised and no user is meant to read.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    for name in names:
        waiting.put(name)
    for _ in range(min(MOST, len(names))):
        # Daemons: whoever presses Ctrl-C waits for none of them.
        threading.Thread(target=_work, args=(waiting, act, done), daemon=True).start()
    for _ in names:
        outcome = done.get()
        if outcome.failure is not None and not isinstance(outcome.failure, ThvError):
            raise outcome.failure
        yield outcome


def failed(outcomes: Sequence[Outcome]) -> ThvError | None:
    """Return the one error that says what failed, if anything did: that of a single workload as it is."""
    failures = [(each.name, each.failure) for each in outcomes if isinstance(each.failure, ThvError)]
    if len(failures) == len(outcomes) == 1:
        return failures[0][1]
    if not failures:
        return None
    evidence = [line for name, failure in failures for line in _marked(name, str(failure).splitlines())]
    return ThvError(f"{len(failures)} of {len(outcomes)} failed", evidence=evidence)


def within(seconds: float, act: Callable[[], T]) -> T:
    """Return what an act returns.

    :raises TimedOut: when it takes longer; it is left behind.
    :raises Exception: what it raises.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    waiting.put("")

    def only(_: str) -> object:
        return act()

    threading.Thread(target=_work, args=(waiting, only, done), daemon=True).start()
    try:
        outcome = done.get(timeout=seconds)
    except queue.Empty:
        raise TimedOut(f"there was no answer within {seconds:g} s") from None
    if outcome.failure is not None:
        raise outcome.failure
    return cast("T", outcome.result)


def _marked(name: str, lines: list[str]) -> list[str]:
    return [f"{name}: {lines[0]}", *lines[1:]]


def _work(waiting: queue.SimpleQueue[str], act: Callable[[str], object], done: queue.SimpleQueue[Outcome]) -> None:
    while True:
        try:
            name = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            done.put(Outcome(name, act(name)))
        except BaseException as error:  # it is raised where the outcome is read
            done.put(Outcome(name, failure=error))
