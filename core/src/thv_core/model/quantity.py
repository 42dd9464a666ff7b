"""Quantities of memory as people write them: ``512MiB``, ``512Mi``, ``1G``, or a number of bytes."""

from __future__ import annotations

import re

from thv_core.errors import InvalidRequest

__all__ = ["memory_bytes", "memory_text"]

_FORM = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,3})?) ?(?P<prefix>[kKMGT]?)(?P<binary>i?)B?\Z")
_POWERS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_MEBIBYTE = 1 << 20
_MOST = 1 << 50
_HINT = "Write 512MiB, 2GiB or 500M."


def memory_bytes(text: str) -> int:
    """Return the number of bytes; ``Mi`` and ``MiB`` count by 1024, ``M`` and ``MB`` by 1000.

    :raises InvalidRequest: when it is no quantity, less than a byte or more than a pebibyte.
    """
    match = _FORM.match(text)
    if match is None or (match["binary"] and not match["prefix"]):
        raise InvalidRequest(f"{text!r} is not an amount of memory", hint=_HINT)
    amount = int(float(match["number"]) * (1024 if match["binary"] else 1000) ** _POWERS[match["prefix"]])
    if not 1 <= amount <= _MOST:
        raise InvalidRequest(f"{text!r} is not an amount of memory that there is", hint=_HINT)
    return amount


def memory_text(amount: int) -> str:
    """Say an amount in mebibytes, ``512 MiB``, or in bytes when it is less than one."""
    return f"{amount // _MEBIBYTE} MiB" if amount >= _MEBIBYTE else f"{amount} bytes"
