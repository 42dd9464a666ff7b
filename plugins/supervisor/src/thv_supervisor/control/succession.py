"""Re-execute control when plugins or settings changed, handing over what it holds in memory only."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Handover", "name_interpreter", "receive", "succeed"]


@dataclass(frozen=True)
class Handover:
    """What a successor receives in an inherited memfd, which no other process can open."""

    shell_values: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]], repr=False)
    renew_gateway: bool = False


def name_interpreter(link: Path, interpreter: str) -> None:
    """Let the link, by which the supervisor finds the Python of its children, name another, atomically."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fresh.symlink_to(interpreter)
    fresh.replace(link)


def succeed(interpreter: str, lifeline: int, handover: Handover, environment: Mapping[str, str]) -> None:
    """Replace this process by a control of ``interpreter`` in ``environment``; does not return."""
    descriptor = os.memfd_create("thv-handover", 0)
    os.write(descriptor, json.dumps(asdict(handover)).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(lifeline, True)
    sys.stdout.flush()
    sys.stderr.flush()
    command = [interpreter, "-P", "-m", "thv_supervisor.control", str(lifeline), str(descriptor)]
    os.execve(interpreter, command, environment)  # noqa: S606 - the interpreter of a checked installation


def receive(descriptor: int | None) -> Handover:
    """Return what the predecessor handed over, or nothing."""
    if descriptor is None:
        return Handover()
    with os.fdopen(descriptor, "rb") as memory:
        return Handover(**json.loads(memory.read()))
