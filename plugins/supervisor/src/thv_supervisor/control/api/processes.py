"""The operations on control itself: is it there, which one is it, and its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from litestar.response import Response

from thv_core.errors import RuntimeUnavailable
from thv_supervisor.control.api.answering import Call, accepted, answer, empty
from thv_supervisor.control.api.operation import TEXT, Answer, Contract, document, serves
from thv_supervisor.control.api.views import EnvironmentVersion
from thv_supervisor.control.ground import Ground
from thv_supervisor.control.settling import Settlement
from thv_supervisor.wire import SHUTDOWN, VERSION

__all__ = ["NONCE", "ProcessRoom"]

NONCE = "x-toolhive-nonce"
"""The response header by which whoever read the discovery file knows that this is the listener which wrote it."""

ALIVE = Contract(
    answers={204: Answer("Control is alive, and so is the chosen runtime.")}, headers={NONCE: "Of server.json."}
)


class ProcessRoom:
    """One method for each operation.

    :param farewell: called when the processes are about to end.
    """

    tag: ClassVar[str] = "system"

    def __init__(self, ground: Ground, settlement: Settlement, farewell: Callable[[], None]) -> None:
        self._ground = ground
        self._settlement = settlement
        self._farewell = farewell
        self._started_at = datetime.fromtimestamp(ground.clock(), UTC).isoformat(timespec="seconds")

    @serves("GET", "/health", ALIVE)
    async def health(self, call: Call) -> Response[Any]:
        """Tell whether control is alive and can ask the chosen runtime."""
        runtime = self._ground.kernel.configuration.runtime
        await self._ground.observatory.first_look(runtime)
        if self._ground.observatory.sees(runtime, "") is None:
            raise RuntimeUnavailable(f"the runtime {runtime} cannot be asked", hint="thv runtime check")
        return empty()

    @serves("GET", VERSION, Contract(answers=document(EnvironmentVersion)))
    async def version(self, call: Call) -> Response[Any]:
        """Return the version, and the environment that control runs in."""
        own = self._settlement.own
        return answer(
            EnvironmentVersion(
                version=own.version,
                interpreter=own.interpreter,
                prefix=own.prefix,
                pid=os.getpid(),
                started_at=self._started_at,
            )
        )

    @serves("POST", SHUTDOWN, Contract(answers={202: Answer("They are about to end.", TEXT)}, private=True))
    async def shutdown(self, call: Call) -> Response[Any]:
        """End the three processes; every server lives on."""
        self._farewell()
        os.kill(os.getppid(), signal.SIGTERM)
        return accepted()
