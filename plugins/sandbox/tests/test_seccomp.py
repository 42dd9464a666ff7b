from __future__ import annotations

import struct
from errno import EAFNOSUPPORT, ENOSYS, EOPNOTSUPP, EPERM

import pytest

from thv_core.errors import RuntimeUnavailable
from thv_sandbox.seccomp import ARCHITECTURES, filter_program

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
CALLS = {
    "x86_64": {"read": 0, "mount": 165, "unshare": 272, "clone": 56, "socket": 41, "ioctl": 16, "bpf": 321},
    "aarch64": {"read": 63, "mount": 40, "unshare": 97, "clone": 220, "socket": 198, "ioctl": 29, "bpf": 280},
}
SHARED = {"clone3": 435, "io_uring_setup": 425, "open_tree": 428}


def verdict(machine: str, call: int, *arguments: int, architecture: int | None = None, watched: bool = False) -> int:
    """Interpret the program as the kernel does, for one system call."""
    program = filter_program(machine, watched=watched)
    instructions = [struct.unpack_from("=HBBI", program, offset) for offset in range(0, len(program), 8)]
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", call, architecture or ARCHITECTURES[machine], 0, *padded)
    accumulator = position = 0
    tests = {0x15: lambda k: accumulator == k, 0x35: lambda k: accumulator >= k, 0x45: lambda k: bool(accumulator & k)}
    while True:
        operation, when_true, when_false, constant = instructions[position]
        position += 1
        if operation == 0x06:
            return constant
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        else:
            position += when_true if tests[operation](constant) else when_false


@pytest.fixture(params=list(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def test_what_servers_need_is_allowed(machine: str) -> None:
    assert verdict(machine, CALLS[machine]["read"]) == ALLOW
    assert verdict(machine, 1000) == ALLOW


@pytest.mark.parametrize("name", ["mount", "unshare", "bpf", "io_uring_setup", "open_tree"])
def test_what_leads_out_is_refused(machine: str, name: str) -> None:
    assert verdict(machine, {**SHARED, **CALLS[machine]}[name]) == ERROR | EPERM


def test_processes_are_made_but_no_namespaces(machine: str) -> None:
    assert verdict(machine, SHARED["clone3"]) == ERROR | ENOSYS
    assert verdict(machine, CALLS[machine]["clone"], 0x1200011) == ALLOW
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, CALLS[machine]["clone"], flag | 17) == ERROR | EPERM


def test_only_unix_internet_and_netlink_sockets_are_made(machine: str) -> None:
    allowed = [family for family in range(64) if verdict(machine, CALLS[machine]["socket"], family) == ALLOW]
    assert allowed == [1, 2, 10, 16]
    assert verdict(machine, CALLS[machine]["socket"], 40) == ERROR | EAFNOSUPPORT


def test_nothing_is_typed_into_a_terminal(machine: str) -> None:
    assert verdict(machine, CALLS[machine]["ioctl"], 0, 0x5401) == ALLOW
    for request in (0x5412, 0x541C):
        assert verdict(machine, CALLS[machine]["ioctl"], 0, request) == ERROR | EPERM


def test_other_ways_into_the_kernel_are_closed(machine: str) -> None:
    assert verdict(machine, 0, architecture=0x40000003) == KILL
    assert verdict(machine, 0x40000000) == ERROR | ENOSYS


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(RuntimeUnavailable, match="riscv64"):
        filter_program("riscv64")


def test_memory_that_no_look_finds_is_refused_where_memory_is_watched(machine: str) -> None:
    for call in {"x86_64": (319, 447, 29, 64, 68), "aarch64": (279, 447, 194, 190, 186)}[machine]:
        assert verdict(machine, call) == ALLOW
        assert verdict(machine, call, watched=True) == ERROR | ENOSYS


def test_no_space_is_reserved_without_being_written(machine: str) -> None:
    assert verdict(machine, {"x86_64": 285, "aarch64": 47}[machine]) == ERROR | EOPNOTSUPP


@pytest.mark.parametrize("special", [0o4000, 0o2000])
def test_no_file_that_runs_as_its_owner_is_made(machine: str, special: int) -> None:
    by_position = {
        "x86_64": {1: (90, 91, 133, 85), 2: (268, 452, 259)},
        "aarch64": {1: (52,), 2: (53, 452, 33)},
    }[machine]
    for position, calls in by_position.items():
        for call in calls:
            before = (0,) * position
            assert verdict(machine, call, *before, 0o755) == ALLOW
            assert verdict(machine, call, *before, special | 0o755) == ERROR | EPERM


def test_the_mode_of_an_opened_file_counts_when_it_may_be_created(machine: str) -> None:
    openat, creating, temporary = {"x86_64": 257, "aarch64": 56}[machine], 0o100, 0o20000000
    assert verdict(machine, openat, 0, 0, creating, 0o644) == ALLOW
    assert verdict(machine, openat, 0, 0, 0, 0o4755) == ALLOW
    for flag in (creating, temporary):
        assert verdict(machine, openat, 0, 0, flag | 1, 0o4755) == ERROR | EPERM
    assert verdict(machine, 437) == ERROR | ENOSYS
    assert verdict("x86_64", 2, 0, creating, 0o4755) == ERROR | EPERM
    assert verdict("x86_64", 2, 0, creating, 0o755) == ALLOW
