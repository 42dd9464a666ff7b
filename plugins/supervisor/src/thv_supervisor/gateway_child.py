"""The gateway as a child of ``thv proxy``: forked before there is any thread, told of signals, and waited for.

A gateway of several workers forks as well, which only a process with a single thread can do safely.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from thv_core.spi.gateways import Gateway, GatewaySeat

__all__ = ["GatewayChild", "serving"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger("thv.proxy")


@contextmanager
def serving(gateway: Gateway, directory: Path, workers: int) -> Generator[GatewayChild]:
    """Let a gateway serve a directory in a child process, which gets what this one is told by SIGTERM and SIGINT.

    :param workers: how many processes carry the traffic.
    """
    child = GatewayChild()
    before = {number: signal.signal(number, child.forward) for number in _SIGNALS}
    try:
        child.start(gateway, directory, workers)
        yield child
    finally:
        child.end()
        for number, handler in before.items():
            signal.signal(number, handler)


class GatewayChild:
    """One child process; ``asked`` tells that a signal asked for its end."""

    def __init__(self) -> None:
        self.asked = False
        self._pid = 0
        self._code: int | None = None
        self._lifeline, self._held = os.pipe()

    def start(self, gateway: Gateway, directory: Path, workers: int) -> None:
        """Fork it."""
        pid = os.fork()
        if not pid:
            self._live(gateway, GatewaySeat(directory=directory, lifeline=self._lifeline, workers=workers))
        self._pid = pid
        os.close(self._lifeline)
        if self.asked:
            self._finish()

    def forward(self, number: int, frame: FrameType | None) -> None:
        """Let it finish its calls and end, because this process was told to."""
        self.asked = True
        if self._pid:
            self._finish()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._reaped(os.WNOHANG)

    def wait(self) -> int:
        """Return its exit code, negative for a signal, when it has ended."""
        self._reaped(0)
        return self._code or 0

    def end(self) -> None:
        """End it at once, if it has not ended, by the closing of its lifeline."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        if self._pid:
            self.wait()

    def _finish(self) -> None:
        if not self.is_over:
            os.kill(self._pid, signal.SIGTERM)

    def _reaped(self, options: int) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self._pid, options)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def _live(self, gateway: Gateway, seat: GatewaySeat) -> NoReturn:
        code = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.close(self._held)
            gateway.serve(seat)
            code = 0
        except BaseException:
            _logger.exception("the gateway failed")
        finally:
            os._exit(code)
