"""The part of the conformance class of runtimes that is about limits, and about what users are told of them."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import pytest

from thv_core.errors import RuntimeUnavailable, Unsupported
from thv_core.spi import ResourceLimits, Runtime
from thv_testkit.runtime_fixtures import PlanMaker, RuntimeFixtures, unasked

__all__ = ["RuntimeLimitsContract"]

_LIMITS = ResourceLimits(memory=256 << 20, cpu=0.5, pids=64, files=512)


class RuntimeLimitsContract(RuntimeFixtures):
    """What every runtime does with limits; :class:`thv_testkit.runtimes.RuntimeContract` includes it."""

    def test_it_is_told_of_each_limit_how_it_is_enforced_or_that_it_is_not(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker
    ) -> None:
        observed = runtime.deploy(plan_for(limits=_LIMITS), unasked)
        told = {line.partition(" ")[0]: line for line in observed.limits}
        assert set(told) == ({"memory", "cpu", "pids", "files"} if runtime.capabilities.limits else set())
        assert all(line.endswith(")") and " (" in line for line in observed.limits), "in which way is not said"
        assert [each.limits for each in again.observe()] == [observed.limits]

    def test_no_limit_of_processors_is_told_when_there_is_none(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        observed = runtime.deploy(plan_for(limits=ResourceLimits(cpu=0)), unasked)
        assert not [line for line in observed.limits if line.startswith("cpu")]

    def test_required_limits_are_enforced_or_the_server_is_refused(self, runtime: Runtime, plan_for: PlanMaker) -> None:
        plan = plan_for(limits=_LIMITS, require_limits=True)
        refusal = RuntimeUnavailable if runtime.capabilities.limits else Unsupported
        try:
            runtime.prepare(plan, lambda _: None)
        except refusal:
            with pytest.raises(refusal):
                runtime.deploy(plan, unasked)
            assert not runtime.observe()
        else:
            limits = runtime.deploy(plan, unasked).limits
            assert len(limits) == len(ResourceLimits.__struct_fields__)
            assert not [line for line in limits if "not enforced" in line or "watched" in line]

    def test_notes_are_sentences_for_its_user_and_stay_the_same(
        self, runtime: Runtime, again: Runtime, plan_for: PlanMaker
    ) -> None:
        observed = runtime.deploy(plan_for(), unasked)
        assert all(note == note.strip() and "\n" not in note and note for note in observed.notes)
        assert [each.notes for each in again.observe()] == [observed.notes]
