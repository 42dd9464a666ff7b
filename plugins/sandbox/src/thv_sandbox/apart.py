"""Work in a thread of its own, because the kernel gives each thread its own namespaces and credentials.

The C library spreads a change of user over all threads; the system call itself changes one. Source: credentials(7),
nptl(7), setresuid(2), and the system call tables of the two architectures.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Callable
from typing import TypeVar

from thv_sandbox.accounts import Account

__all__ = ["acting_as", "apart", "call"]

_CHANGE_GROUP = {"x86_64": 119, "aarch64": 149}
_CHANGE_USER = {"x86_64": 117, "aarch64": 147}

_Result = TypeVar("_Result")


def apart(work: Callable[[], _Result]) -> _Result:
    """Run ``work`` in a new thread, wait for it, and return what it returns or raise what it raises."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="thv-sandbox-apart")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def acting_as(account: Account, work: Callable[[], None]) -> None:
    """Run ``work`` as another account: root without the capability to limit others may limit its own processes only."""

    def changed() -> None:
        machine = platform.machine()
        call("syscall", _CHANGE_GROUP[machine], *(account.gid,) * 3)
        call("syscall", _CHANGE_USER[machine], *(account.uid,) * 3)
        work()

    if account.foreign:
        apart(changed)
    else:
        work()


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns -1 when it failed.

    :raises OSError: when it failed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
