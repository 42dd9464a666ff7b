"""Choose the port of a workload: below the ephemeral range, remembered, never shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from thv_core.errors import PortUnavailable

__all__ = ["FIRST_PORT", "choose_port"]

FIRST_PORT = 19001


def choose_port(wanted: int, remembered: Mapping[str, int], ephemeral: int, is_free: Callable[[int], bool]) -> int:
    """Return the port that a new workload gets.

    :param wanted: an explicit port, or 0 for the first free one from :data:`FIRST_PORT`.
    :param remembered: the port of each workload, running or not.
    :param ephemeral: the first port of the system's ephemeral range.
    :param is_free: whether a port can be bound now.
    :raises PortUnavailable: naming who holds the wanted port, or when none is left.
    """
    if wanted:
        return _exactly(wanted, remembered, is_free)
    taken = set(remembered.values())
    for port in range(FIRST_PORT, max(ephemeral, FIRST_PORT + 1000)):
        if port not in taken and is_free(port):
            return port
    raise PortUnavailable(
        f"no port is free from {FIRST_PORT} up", hint="Stop a program that holds one, or name another port."
    )


def _exactly(port: int, remembered: Mapping[str, int], is_free: Callable[[int], bool]) -> int:
    holder = next((name for name, each in remembered.items() if each == port), "")
    if holder:
        raise PortUnavailable(
            f"port {port} belongs to {holder}", hint="Choose another port, or leave it out and have one chosen."
        )
    if not is_free(port):
        raise PortUnavailable(
            f"port {port} is in use by another program",
            hint="Choose another port, or leave it out and have one chosen.",
        )
    return port
