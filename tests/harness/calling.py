"""A client that calls without pause and repeats nothing, so that every failed call is seen."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from harness.home import wait_for
from harness.session import Session


class Calls:
    """Calls one tool in one session until it is told to end; ``failures`` has each call that was not answered well.

    ``seen`` are the different results in the order in which they first came, ``slowest`` is in seconds.
    """

    def __init__(self, session: Session, tool: str, **arguments: Any) -> None:
        self.session = session
        self.answered = 0
        self.slowest = 0.0
        self.failures: list[str] = []
        self.seen: list[Any] = []
        self._call = {"name": tool, "arguments": arguments}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Calls:
        self._thread.start()
        wait_for(lambda: self.answered > 10 or self.failures)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def go_on(self, count: int = 10) -> None:
        """Wait until so many more calls were answered."""
        wanted = self.answered + count
        wait_for(lambda: self.answered >= wanted or self.failures, 60)

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                status, _, body = self.session.post("tools/call", self._call)
                self._judge(status, body)
            except Exception as error:
                self.failures.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - began)

    def _judge(self, status: int, body: Any) -> None:
        result = body.get("result") if isinstance(body, dict) else None
        if status != 200 or result is None or result.get("isError"):
            self.failures.append(f"{status} {body}")
            return
        self.answered += 1
        value = result.get("structuredContent", result["content"])
        if value not in self.seen:
            self.seen.append(value)


class LongCall:
    """One call of the sleeping tool, from its construction on."""

    def __init__(self, session: Session, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._call: Future[Any] = self._pool.submit(
            session.post, "tools/call", {"name": "sleep", "arguments": {"seconds": seconds, "steps": 1}}
        )

    @property
    def done(self) -> bool:
        """Whether it was answered."""
        return self._call.done()

    def answer(self) -> tuple[int, str]:
        """Wait for the answer: its status, and its text or its error."""
        status, _, body = self._call.result(120)
        self._pool.shutdown()
        return status, body["result"]["content"][0]["text"] if "result" in body else str(body)
