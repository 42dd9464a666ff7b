"""Descriptors that live for one call: anonymous files with given bytes, and opened paths."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["memory_file", "opened"]


@contextmanager
def memory_file(content: bytes) -> Generator[int]:
    """Hold an anonymous file with ``content``, positioned at its start."""
    descriptor = os.memfd_create("thv-sandbox")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened(path: Path, flags: int) -> Generator[int]:
    """Hold ``path`` open; a FIFO opened read-write never blocks and never reaches its end."""
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
