"""Start the processes of one gateway, start one anew that dies, and end them together. Nothing else happens here.

The first one is the principal: it speaks with control and owns every pipe. Processes are forked before any event loop
exists; the tether, a pipe whose other end only this process holds, tells them that it is gone. What this process has
locked stays locked until the last of them has ended, because they have the same descriptors.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NoReturn

__all__ = ["PRINCIPAL", "tend"]

PRINCIPAL = 0

_PAUSE_SECONDS = 1.0
"""One that died sooner than that after it was started waits for so long."""

LAST_SECONDS = 15.0
"""Longer than a drain takes: what has not ended so long after it was told to is killed."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ALL_SIGNALS = (*_SIGNALS, signal.SIGCHLD)

_logger = logging.getLogger("thv.gateway")


def tend(count: int, lifeline: int, work: Callable[[int, int], None]) -> None:
    """Keep so many processes until the lifeline ends, a signal comes, or the principal has finished by itself.

    :param work: what a process does, given its number and a descriptor that ends when it has to.
    """
    tether, held = os.pipe()
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    before = {number: signal.signal(number, _woken) for number in _ALL_SIGNALS}
    wakeup = signal.set_wakeup_fd(waking)
    try:
        _Nursery(count, lambda number: _forked(number, tether, (held, woken, waking, lifeline), work)).run(
            lifeline, woken
        )
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        for descriptor in (tether, held, woken, waking):
            os.close(descriptor)


class _Nursery:
    def __init__(self, count: int, start: Callable[[int], int]) -> None:
        self._start = start
        self._missing = dict.fromkeys(range(count), 0.0)
        self._running: dict[int, tuple[int, float]] = {}
        self._ends = 0.0

    def run(self, lifeline: int, woken: int) -> None:
        while self._running or not self._ends:
            self._fill()
            readable, _, _ = select.select([lifeline, woken], [], [], _PAUSE_SECONDS)
            if lifeline in readable and not os.read(lifeline, 1024):
                # Whoever is left is told by the tether.
                return
            if woken in readable and set(os.read(woken, 1024)) & set(_SIGNALS):
                self._end()
            self._reap()
            if self._ends and time.monotonic() > self._ends:
                self._signal(signal.SIGKILL)

    def _fill(self) -> None:
        if self._ends:
            return
        now = time.monotonic()
        for number in [each for each, due in self._missing.items() if due <= now]:
            del self._missing[number]
            self._running[self._start(number)] = number, now

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            # The first process of a container is the parent of whoever has lost his own as well.
            if pid in self._running:
                self._ended(*self._running.pop(pid), os.waitstatus_to_exitcode(status))

    def _ended(self, number: int, began: float, code: int) -> None:
        if number == PRINCIPAL and code == 0:
            self._end()
        elif not self._ends:
            _logger.error("process %d of the gateway ended with %d", number, code)
        quick = time.monotonic() - began < _PAUSE_SECONDS
        self._missing[number] = time.monotonic() + _PAUSE_SECONDS if quick else 0.0

    def _end(self) -> None:
        self._ends = self._ends or time.monotonic() + LAST_SECONDS
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _woken(number: int, frame: object) -> None:
    """Do nothing: the descriptor that is written to beside says so where it is waited for."""


def _forked(number: int, tether: int, foreign: tuple[int, ...], work: Callable[[int, int], None]) -> int:
    # What comes before the new process has handlers of its own must neither be lost nor be taken for ours.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
    try:
        pid = os.fork()
        if not pid:
            _live(number, tether, foreign, partial(_unmasked, mask, work))
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _unmasked(mask: Iterable[int], work: Callable[[int, int], None], number: int, tether: int) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    work(number, tether)


def _live(number: int, tether: int, foreign: tuple[int, ...], work: Callable[[int, int], None]) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for each in _ALL_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        for descriptor in foreign:
            os.close(descriptor)
        work(number, tether)
        code = 0
    except BaseException:
        _logger.exception("process %d of the gateway failed", number)
    finally:
        os._exit(code)
