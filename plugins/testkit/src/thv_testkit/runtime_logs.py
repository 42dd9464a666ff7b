"""The part of the conformance class of runtimes that reads logs."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import threading

import pytest

from thv_core.errors import NotFound
from thv_core.spi import Deployment, Observed, ObservedState, Runtime
from thv_testkit.conversations import Conversation
from thv_testkit.runtime_fixtures import PlanMaker, RuntimeFixtures, unasked
from thv_testkit.waiting import eventually

__all__ = ["RuntimeLogsContract"]


class RuntimeLogsContract(RuntimeFixtures):
    """What the logs of every runtime do; :class:`thv_testkit.runtimes.RuntimeContract` includes it."""

    patience: float = 10.0
    """Seconds within which whoever follows a log must hear that there is no more."""

    def test_logs_are_what_the_server_wrote_to_standard_error(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        observed = runtime.deploy(plan_for(), unasked)
        _complain(observed, "one", "two", "three")
        text = eventually(lambda: _lines(runtime, observed)[2:] and _lines(runtime, observed))
        assert text == [b"one", b"two", b"three"]
        assert b"".join(runtime.logs(observed.deployment, tail=2)) == b"two\nthree\n"
        assert b"".join(runtime.logs(observed.deployment, tail=99)) == b"one\ntwo\nthree\n"
        assert b"".join(runtime.logs(observed.deployment, tail=0)) == b""

    def test_logs_stay_after_the_exit(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        observed = runtime.deploy(plan_for("--exit", "3"), unasked)
        eventually(lambda: runtime.observe()[0].state is ObservedState.EXITED)
        assert b"exits with 3" in b"".join(runtime.logs(observed.deployment))

    def test_following_logs_goes_on_until_the_exit(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        observed = runtime.deploy(plan_for(), unasked)
        _complain(observed, "before")
        chunks: list[bytes] = []
        follower = threading.Thread(
            target=lambda: chunks.extend(filter(None, runtime.logs(observed.deployment, follow=True)))
        )
        follower.start()
        eventually(lambda: b"before\n" in b"".join(chunks), self.patience)
        _complain(observed, "after")
        eventually(lambda: b"after\n" in b"".join(chunks), self.patience)
        assert follower.is_alive()
        runtime.stop(observed.deployment, 5)
        follower.join(self.patience)
        assert not follower.is_alive()
        assert all(chunk.endswith(b"\n") for chunk in chunks)
        assert b"".join(chunks).splitlines()[:2] == [b"before", b"after"]

    def test_following_ends_when_the_deployment_is_removed(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        observed = runtime.deploy(plan_for(), unasked)
        follower = threading.Thread(target=lambda: list(runtime.logs(observed.deployment, follow=True)))
        follower.start()
        runtime.remove(observed.deployment)
        follower.join(self.patience)
        assert not follower.is_alive()

    def test_logs_of_an_unknown_deployment_are_not_found(self, runtime: Runtime) -> None:
        with pytest.raises(NotFound):
            list(runtime.logs(Deployment(workload="unknown", generation=7)))


def _lines(runtime: Runtime, observed: Observed) -> list[bytes]:
    return b"".join(runtime.logs(observed.deployment)).splitlines()


def _complain(observed: Observed, *texts: str) -> None:
    with Conversation(observed.stdio) as server:
        for text in texts:
            server.text("stderr", text=text)
