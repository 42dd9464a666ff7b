"""The tools of the echo server that take more than their share: of memory, of files, of whoever reads them."""

from __future__ import annotations

import os
import sys
from typing import Any

from thv_testkit.echo.calls import Call, Tool, ToolFailed, structured, text_result

__all__ = ["EXCESS"]

Json = dict[str, Any]

_MEBIBYTE = 1 << 20
_LINE = b"noise" * 25 + b".\n"

_kept: list[bytearray | int] = []


def _memory(call: Call) -> Json:
    """Take so many mebibytes of memory, touch each page, and keep them; 0 gives back what was taken."""
    amount = _amount(call)
    if not amount:
        _kept.clear()
        return text_result("nothing is kept")
    try:
        # Not zeros: pages that were never written are not counted.
        _kept.append(bytearray(b"\1") * amount)
    except MemoryError:
        raise ToolFailed(f"cannot take {amount // _MEBIBYTE} MiB") from None
    return text_result(f"keeps {amount // _MEBIBYTE} MiB")


def _open(call: Call) -> Json:
    """Open so many files, and keep them open; return how many could be opened."""
    wanted, opened = call.argument("files", int), 0
    try:
        while opened < wanted:
            _kept.append(os.open("/dev/null", os.O_RDONLY))
            opened += 1
    except OSError as failure:
        return structured({"opened": opened, "failure": failure.strerror})
    return structured({"opened": opened, "failure": ""})


def _space(call: Call) -> Json:
    """Return the size of the file system that holds a path, and what of it is free, in bytes."""
    path: str = call.argument("path", str)
    try:
        found = os.statvfs(path)
    except OSError as failure:
        raise ToolFailed(f"cannot look at {path}: {failure.strerror}") from None
    return structured({"size": found.f_blocks * found.f_frsize, "free": found.f_bavail * found.f_frsize})


def _flood_stdout(call: Call) -> Json:
    """Write so many mebibytes of short lines that are not JSON to standard output, then answer."""
    return _flooded(call, sys.stdout.fileno(), _LINE)


def _flood_stderr(call: Call) -> Json:
    """Write so many mebibytes of short lines to standard error, then answer."""
    return _flooded(call, sys.stderr.fileno(), _LINE)


def _long_line(call: Call) -> Json:
    """Write one line of so many mebibytes that is not JSON to standard output, then answer."""
    result = _flooded(call, sys.stdout.fileno(), b"noise" * 200)
    _write(sys.stdout.fileno(), b"\n")
    return result


def _long_answer(call: Call) -> Json:
    """Answer with a text of so many mebibytes, which is one line."""
    return text_result("x" * _amount(call))


def _flooded(call: Call, descriptor: int, piece: bytes) -> Json:
    amount = _amount(call)
    block = piece * (_MEBIBYTE // len(piece))
    for _ in range(amount // _MEBIBYTE):
        _write(descriptor, block)
    return text_result(f"wrote {amount // _MEBIBYTE} MiB")


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _amount(call: Call) -> int:
    mebibytes: int = call.argument("mebibytes", int)
    if not 0 <= mebibytes <= 1 << 20:
        raise ToolFailed("takes 0 to 1048576 mebibytes")
    return mebibytes * _MEBIBYTE


EXCESS = (
    Tool(_memory, "mebibytes", mebibytes="integer"),
    Tool(_open, "files", files="integer"),
    Tool(_space, "path", path="string"),
    Tool(_flood_stdout, "mebibytes", mebibytes="integer"),
    Tool(_flood_stderr, "mebibytes", mebibytes="integer"),
    Tool(_long_line, "mebibytes", mebibytes="integer"),
    Tool(_long_answer, "mebibytes", mebibytes="integer"),
)
