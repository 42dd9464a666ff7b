"""Call synchronous drivers from the event loop: in a bounded pool per driver, each call with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from thv_core.errors import PluginBroken, ThvError, TimedOut

__all__ = ["DriverCalls"]

P = ParamSpec("P")
T = TypeVar("T")

WORKERS = 4


class DriverCalls:
    """Pools of worker threads by driver, written ``KIND NAME``; one that hangs blocks its own driver only.

    :param origin: returns how a user names the distribution of a driver.
    """

    def __init__(self, origin: Callable[[str], str] = str) -> None:
        self._origin = origin
        self._pools: dict[str, ThreadPoolExecutor] = {}

    async def run(self, driver: str, limit: float, call: Callable[[], T]) -> T:
        """Return what ``call`` returns.

        :param driver: ``KIND NAME``, with a third word for calls that get a pool of their own.
        :param limit: seconds after which the caller goes on; the thread cannot be ended and stays in its pool.
        :raises TimedOut: when it takes longer.
        :raises PluginBroken: when it raises what is no error of thv.
        """
        pool = self._pools.setdefault(driver, ThreadPoolExecutor(WORKERS, thread_name_prefix=driver))
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(pool, call), limit)
        except TimeoutError:
            raise TimedOut(f"{self._origin(driver)} did not finish within {limit:g} s") from None
        except ThvError:
            raise
        except Exception as error:
            # What a secret store says of its failure may hold a value.
            told = "" if driver.startswith("secrets ") else f": {error}"
            evidence = [f"{type(error).__name__}{told}"]
            raise PluginBroken(f"{self._origin(driver)} failed", evidence=evidence) from error
