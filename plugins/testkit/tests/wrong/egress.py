"""Egresses that are wrong, each caught by the tests that it names."""

import dataclasses
import secrets

import pytest
from msgspec.structs import replace

from thv_core.errors import InvalidRequest
from thv_core.spi import Network, Outbound, OutletPlan, Verdict, outbound_rules
from thv_testkit.egress import EgressContract
from thv_testkit.fake_egress import FakeEgress


class PlansForEverybody(FakeEgress):
    def plan(self, network):
        return replace(super().plan(network), proxy=3128)


class ForgetsPorts(FakeEgress):
    def plan(self, network):
        plan = super().plan(network)
        return replace(plan, ports=(80, 443)) if plan.ports else plan


class PlansByChance(FakeEgress):
    def plan(self, network):
        return replace(super().plan(network), pool=f"11.{secrets.randbelow(1_000_000)}.0.0/16")


class PlansAnything(FakeEgress):
    def plan(self, network):
        try:
            return super().plan(network)
        except InvalidRequest:
            return OutletPlan()


class AllowsEverything(FakeEgress):
    def open(self, outlet):
        listed = outbound_rules(outlet.network)
        entries = ("*", "0.0.0.0/0", "::/0")
        ports = {port for rule in listed for port in rule.ports} | {9, 80, 443}
        network = Network(outbound=Outbound(allow_host=entries, allow_port=tuple(ports)))
        return super().open(dataclasses.replace(outlet, network=network))


class FollowsNamesToThisMachine(FakeEgress):
    def open(self, outlet):
        self.names["localhost"] = "127.0.0.1"
        return super().open(outlet)


class ForgetsCalls(FakeEgress):
    def open(self, outlet):
        return super().open(dataclasses.replace(outlet, calls=tuple))


class ForgetsNames(FakeEgress):
    def open(self, outlet):
        for names in self._folder.glob("*.names"):
            names.unlink()
        return super().open(outlet)


class ForgetsTheOrderOfNames(FakeEgress):
    """Knows which names it gave addresses, and gives them others."""

    def open(self, outlet):
        for names in self._folder.glob("*.names"):
            names.write_bytes(b'{"x.example":"127.77.0.2"}')
        return super().open(outlet)


class TakesAnotherPool(FakeEgress):
    def open(self, outlet):
        return super().open(dataclasses.replace(outlet, plan=replace(outlet.plan, pool="127.99.0.0/16")))


class CallsEverythingAllowed(FakeEgress):
    def records(self, **question):
        for batch in super().records(**question):
            yield [replace(each, verdict=Verdict.ALLOWED) for each in batch]


class TellsOfEverybody(FakeEgress):
    def records(self, *, workload="", follow=False):
        return super().records(follow=follow)


class TellsTheNewestFirst(FakeEgress):
    def records(self, **question):
        return (batch[::-1] for batch in super().records(**question))


class NeverFollows(FakeEgress):
    def records(self, *, workload="", follow=False):
        return super().records(workload=workload)


class RemembersInItself(FakeEgress):
    def __init__(self, folder, names=None):
        super().__init__(folder, names)
        self._folder = folder / secrets.token_hex(4)
        self._folder.mkdir()


class NeverCloses(FakeEgress):
    def open(self, outlet):
        class StaysOpen:
            opened = FakeEgress.open(self, outlet)

            def close(self):
                """Close nothing."""

        return StaysOpen()


class LeavesWhatItRefuses(FakeEgress):
    def open(self, outlet):
        outbound_rules(outlet.network)
        return super().open(outlet)


class WritesParents(FakeEgress):
    def open(self, outlet):
        (self._folder / "parents").write_text(str(outlet.proxies))
        return super().open(outlet)


def wrong(driver, *tests):
    fixture = pytest.fixture(lambda self, surroundings: driver.from_settings({}, surroundings))
    return type(f"Test{driver.__name__}", (EgressContract,), {"egress": fixture, "caught_by": tests})


TestPlansForEverybody = wrong(PlansForEverybody, "test_who_reaches_nothing_needs_no_sockets")
TestForgetsPorts = wrong(ForgetsPorts, "test_a_listed_host_needs_a_resolver_a_proxy_and_a_listener_for_each_port")
TestPlansByChance = wrong(PlansByChance, "test_planning_is_a_pure_computation")
TestPlansAnything = wrong(PlansAnything, "test_what_cannot_be_meant_is_refused")
TestAllowsEverything = wrong(
    AllowsEverything,
    "test_what_is_not_listed_is_refused_and_recorded",
    "test_a_name_that_is_not_listed_does_not_exist_and_is_recorded",
)
TestFollowsNamesToThisMachine = wrong(FollowsNamesToThisMachine, "test_a_name_never_permits_an_address_of_this_machine")
TestForgetsCalls = wrong(
    ForgetsCalls,
    "test_an_allowed_address_is_connected_and_recorded_with_its_calls",
    "test_what_is_not_listed_is_refused_and_recorded",
)
TestForgetsNames = wrong(
    ForgetsNames, "test_an_incarnation_keeps_the_addresses_of_its_names_when_a_second_instance_takes_over"
)
TestForgetsTheOrderOfNames = wrong(
    ForgetsTheOrderOfNames,
    "test_an_incarnation_keeps_the_addresses_of_its_names_when_a_second_instance_takes_over",
)
TestTakesAnotherPool = wrong(TakesAnotherPool, "test_an_allowed_name_has_an_address_of_the_pool_and_no_other_kind")
TestCallsEverythingAllowed = wrong(
    CallsEverythingAllowed,
    "test_what_is_not_listed_is_refused_and_recorded",
    "test_a_name_never_permits_an_address_of_this_machine",
    "test_a_name_that_is_not_listed_does_not_exist_and_is_recorded",
    "test_who_connects_an_address_of_the_pool_means_its_name",
)
TestTellsOfEverybody = wrong(
    TellsOfEverybody,
    "test_records_are_those_of_one_workload_or_of_all_oldest_first_and_outlive_the_instance",
)
TestTellsTheNewestFirst = wrong(
    TellsTheNewestFirst,
    "test_records_are_those_of_one_workload_or_of_all_oldest_first_and_outlive_the_instance",
)
TestNeverFollows = wrong(NeverFollows, "test_following_records_goes_on")
TestRemembersInItself = wrong(
    RemembersInItself,
    "test_records_are_those_of_one_workload_or_of_all_oldest_first_and_outlive_the_instance",
    "test_an_incarnation_keeps_the_addresses_of_its_names_when_a_second_instance_takes_over",
)
TestNeverCloses = wrong(NeverCloses, "test_closing_cuts_and_records_every_connection_and_closes_every_socket")
TestLeavesWhatItRefuses = wrong(
    LeavesWhatItRefuses, "test_an_outlet_that_cannot_be_served_is_refused_and_its_sockets_are_closed"
)
TestWritesParents = wrong(WritesParents, "test_the_password_of_a_parent_proxy_is_in_no_file_record_or_representation")
