"""The system call filter: a classic BPF program that refuses what no MCP server needs, built without a library.

Refused: mounts, namespaces, other processes' memory, kernel keys, tracing, io_uring, clocks, modules, and sockets that
are neither Unix, IP nor netlink (AF_VSOCK crosses a network namespace). The list is Docker's default profile with
io_uring added, and with files that run as their owner: one in a writable grant would give another user of this machine,
outside, the rights of the server's. Source: seccomp(2), linux/filter.h, and the system call tables of the two
architectures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from errno import EAFNOSUPPORT, ENOSYS, EOPNOTSUPP, EPERM

from thv_core.errors import RuntimeUnavailable

__all__ = ["ARCHITECTURES", "filter_program"]

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The supported machines with their AUDIT_ARCH numbers; their order is that of the columns below."""

_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
_RESERVING = (285, 47)
_HIDDEN_MEMORY: dict[str, tuple[int, int]] = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "msgget": (68, 186),
    "semget": (64, 190),
    "shmget": (29, 194),
}
_SETS_MODE: dict[str, tuple[int | None, int | None, int]] = {
    "chmod": (90, None, 1),
    "fchmod": (91, 52, 1),
    "fchmodat": (268, 53, 2),
    "fchmodat2": (452, 452, 2),
    "mknod": (133, None, 1),
    "mknodat": (259, 33, 2),
    "creat": (85, None, 1),
}
_OPENS: dict[str, tuple[int | None, int | None, int]] = {"open": (2, None, 1), "openat": (257, 56, 2)}
_OPENAT2 = 437
_SET_USER_OR_GROUP = 0o6000
_CREATING = 0o20000100
_INSPECTED = {"clone": (56, 220), "clone3": (435, 435), "ioctl": (16, 29), "socket": (41, 198)}
_NAMESPACE_FLAGS = 0x7E020000
_SOCKET_FAMILIES = (1, 2, 10, 16)
_TERMINAL_INPUT = (0x5412, 0x541C)
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FIRST_ARGUMENT, _SECOND_ARGUMENT, _ARGUMENT_SIZE = 0, 4, 16, 24, 8

Instruction = tuple[int, int, int, int]
"""Operation, how many instructions to skip when true, when false, and its constant."""


def filter_program(machine: str, *, watched: bool = False) -> bytes:
    """Return the filter for a machine, as an array of ``struct sock_filter``.

    :param watched: whether memory is watched by looking; then memory that belongs to no process is refused, because no
        look finds it.
    :raises RuntimeUnavailable: when the system call numbers of the machine are not known here.
    """
    if machine not in ARCHITECTURES:
        raise RuntimeUnavailable(
            f"the sandbox knows no system calls of {machine}", hint=f"It runs on {' and '.join(ARCHITECTURES)}."
        )
    column = list(ARCHITECTURES).index(machine)
    inspected = {name: numbers[column] for name, numbers in _INSPECTED.items()}
    refused = [number for numbers in _REFUSED.values() if (number := numbers[column]) is not None]
    hidden = [numbers[column] for numbers in _HIDDEN_MEMORY.values()] if watched else []
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        (_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        # The x32 numbers would be a second way to every call; aarch64 has no number that high.
        (_AT_LEAST, 0, 1, _X32),
        _failing(ENOSYS),
        # The flags of these lie in memory; without them the C library falls back to clone and openat.
        *_refusing(inspected["clone3"], ENOSYS),
        *_refusing(_OPENAT2, ENOSYS),
        *_refusing_namespaces(inspected["clone"]),
        *_allowing_families(inspected["socket"]),
        *_refusing_terminal_input(inspected["ioctl"]),
        *_refusing_foreign_rights(column),
        # Space that was reserved in the log without being written would be found by no look either (fallocate).
        *_refusing(_RESERVING[column], EOPNOTSUPP),
        *(instruction for number in hidden for instruction in _refusing(number, ENOSYS)),
        *(instruction for number in refused for instruction in _refusing(number, EPERM)),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _failing(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERROR | error)


def _refusing(number: int, error: int) -> list[Instruction]:
    return [(_EQUAL, 0, 1, number), _failing(error)]


def _inspecting(number: int, offset: int, checks: list[Instruction]) -> list[Instruction]:
    return [(_EQUAL, 0, len(checks) + 1, number), (_LOAD, 0, 0, offset), *checks]


def _refusing_namespaces(number: int) -> list[Instruction]:
    checks = [(_ANY_BIT, 0, 1, _NAMESPACE_FLAGS), _failing(EPERM), (_RETURN, 0, 0, _ALLOW)]
    return _inspecting(number, _FIRST_ARGUMENT, checks)


def _allowing_families(number: int) -> list[Instruction]:
    count = len(_SOCKET_FAMILIES)
    tests = [(_EQUAL, count - position, 0, family) for position, family in enumerate(_SOCKET_FAMILIES)]
    return _inspecting(number, _FIRST_ARGUMENT, [*tests, _failing(EAFNOSUPPORT), (_RETURN, 0, 0, _ALLOW)])


def _refusing_foreign_rights(column: int) -> Iterator[Instruction]:
    """Refuse files that would run as their owner or group (S_ISUID, S_ISGID), however they are made."""
    refusing = [(_ANY_BIT, 0, 1, _SET_USER_OR_GROUP), _failing(EPERM), (_RETURN, 0, 0, _ALLOW)]
    for *numbers, position in _SETS_MODE.values():
        if (number := numbers[column]) is not None:
            yield from _inspecting(number, _FIRST_ARGUMENT + position * _ARGUMENT_SIZE, refusing)
    for *numbers, position in _OPENS.values():
        if (number := numbers[column]) is not None:
            flags = _FIRST_ARGUMENT + position * _ARGUMENT_SIZE
            # The mode is there only when a file may be created.
            creating = [(_ANY_BIT, 1, 0, _CREATING), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, flags + _ARGUMENT_SIZE)]
            yield from _inspecting(number, flags, [*creating, *refusing])


def _refusing_terminal_input(number: int) -> list[Instruction]:
    insert, control = _TERMINAL_INPUT
    checks = [(_EQUAL, 1, 0, insert), (_EQUAL, 0, 1, control), _failing(EPERM), (_RETURN, 0, 0, _ALLOW)]
    return _inspecting(number, _SECOND_ARGUMENT, checks)
