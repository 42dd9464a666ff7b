"""Keep a listener of the API open on whichever control runs, until a signal ends it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from thv_core.spi.console import Console
from thv_core.state.paths import Paths
from thv_supervisor.client import ControlClient
from thv_supervisor.ending import end_processes
from thv_supervisor.launching import is_supervised
from thv_supervisor.wire import LISTENERS

__all__ = ["Serving"]

SILENCE = 35.0
"""Seconds without a sign of life after which a lease is taken for lost; there is one every ten."""

PAUSE = 0.2

OPEN_TO_ALL = (
    "WARNING: the API wants no token: every program and every user of this machine can run anything as you, "
    "until this command ends."
)
UNENCRYPTED = "WARNING: {host} is reached over the network, and the token and all answers travel unencrypted."


class _Ended(BaseException):
    """A signal asked this process to end."""


class Serving:
    """The listener of one command."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._paths = Paths.from_environment(console.environment, sys.platform)
        self._paths.ensure()
        self._client = ControlClient(console.environment, console.message)
        self._url = ""
        self._over = False

    def stop(self) -> None:
        """End the processes; servers live on.

        :raises TimedOut: when they do not end.
        """
        if not is_supervised(self._paths):
            self._console.message("the processes of thv do not run")
            return
        end_processes(self._client, self._paths)
        self._console.message("the processes of thv have ended; servers live on and are found again")

    def serve(self, listener: dict[str, Any]) -> None:
        """Serve until SIGTERM or SIGINT, or until somebody ends the processes.

        A control that is replaced is asked again, at the same place. The processes end with this command only if it
        has started them.

        :raises ThvError: when nothing can listen there.
        """
        with _ended_by_signals():
            ours = not is_supervised(self._paths)
            try:
                self._lease(listener)
            except _Ended:
                self._console.message("the listener is closed")
            finally:
                # Whoever is told that they end must not ask them to: that would start them anew.
                if ours and not self._over and is_supervised(self._paths):
                    end_processes(self._client, self._paths)

    def _lease(self, listener: dict[str, Any]) -> None:
        wanted = dict(listener)
        while True:
            # Only the first lease may have control replaced: else two environments would replace each other for ever.
            for document in self._client.lease(LISTENERS, wanted, SILENCE, judged=not self._url):
                if "listening" in document:
                    wanted["port"] = self._announce(document["listening"], wanted)
                if "ended" in document:
                    self._over = True
                    self._console.message(f"{document['ended']}: the listener is closed")
                    return
            time.sleep(PAUSE)

    def _announce(self, listening: dict[str, Any], wanted: dict[str, Any]) -> int:
        """Say where it listens, once; return the port that was chosen."""
        url = listening["url"]
        if not self._url:
            self._console.line(url)
            self._warn(listening, wanted)
        self._url = url
        return 0 if wanted["socket"] else int(url.rpartition(":")[2])

    def _warn(self, listening: dict[str, Any], wanted: dict[str, Any]) -> None:
        if token_file := listening.get("token_file"):
            self._console.message(f"the token of the API is in {token_file}")
        elif not wanted["socket"]:
            self._console.message(OPEN_TO_ALL)
        if (
            not wanted["socket"]
            and wanted["host"] not in ("localhost", "::1")
            and not wanted["host"].startswith("127.")
        ):
            self._console.message(UNENCRYPTED.format(host=wanted["host"]))
        if wanted["openapi"] and not wanted["socket"]:
            self._console.message(f"the description of the API is at {listening['url']}/api/doc")
        self._console.message("end with Ctrl-C")


@contextmanager
def _ended_by_signals() -> Generator[None, None, None]:
    """Let SIGTERM and SIGINT end what runs within, once; what then winds up is not disturbed."""
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(number: int, frame: FrameType | None) -> None:
        for each in former:
            signal.signal(each, signal.SIG_IGN)
        raise _Ended

    for number in former:
        signal.signal(number, end)
    try:
        yield
    except _Ended:
        return
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
