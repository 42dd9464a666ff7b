"""Wait for a condition, with a bound: tests never sleep for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["eventually"]

T = TypeVar("T")


def eventually(condition: Callable[[], T], within: float = 10.0) -> T:
    """Call ``condition`` until its result is true, and return that result.

    :param within: seconds; then the test fails.
    """
    deadline = time.monotonic() + within
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {within:g} seconds: {condition}, which last gave {result!r}"
        time.sleep(0.01)
