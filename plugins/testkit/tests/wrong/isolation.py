"""A runtime that isolates nothing: the tests of isolation catch it, each in its own way."""

import pytest

from thv_testkit.fake_runtime import FakeRuntime
from thv_testkit.runtime_views import IsolatingRuntimeContract


class TestIsolatesNothing(IsolatingRuntimeContract):
    caught_by = (
        "test_what_is_not_granted_is_not_there",
        "test_a_read_only_grant_cannot_be_written",
        "test_what_belongs_to_thv_is_not_granted",
        "test_a_grant_that_contains_a_socket_is_refused_unless_sockets_are_allowed",
        "test_certificates_are_seen_where_programs_are_told_and_only_when_there_are_any",
        "test_a_memory_file_system_has_its_size_and_stays_inside",
        "test_nothing_of_the_host_is_reached",
        "test_each_server_has_a_namespace_of_its_own",
    )

    @pytest.fixture
    def runtime(self, surroundings):
        return FakeRuntime.from_settings({}, surroundings)
