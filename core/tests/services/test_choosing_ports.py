"""The port of a workload."""

import pytest

from thv_core.errors import PortUnavailable
from thv_core.services.choosing_ports import FIRST_PORT, choose_port


def always(port: int) -> bool:
    return True


def test_the_first_free_port_that_no_workload_remembers_is_chosen() -> None:
    def free(port: int) -> bool:
        return port != FIRST_PORT + 1

    assert choose_port(0, {"a": FIRST_PORT}, 32768, free) == FIRST_PORT + 2


def test_a_wanted_port_is_taken_when_it_is_free() -> None:
    assert choose_port(8080, {}, 32768, always) == 8080


def test_a_wanted_port_of_another_workload_names_it() -> None:
    with pytest.raises(PortUnavailable, match="port 8080 belongs to time"):
        choose_port(8080, {"time": 8080}, 32768, always)


def test_a_wanted_port_of_another_program_is_refused() -> None:
    with pytest.raises(PortUnavailable, match="port 8080 is in use by another program"):
        choose_port(8080, {}, 32768, lambda port: False)


def test_no_port_of_the_ephemeral_range_is_chosen() -> None:
    with pytest.raises(PortUnavailable, match="no port is free"):
        choose_port(0, {}, FIRST_PORT + 1000, lambda port: port >= FIRST_PORT + 1000)
