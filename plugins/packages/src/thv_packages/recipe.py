"""What a root is made from, and the name that follows from it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import msgspec

from thv_packages.interpreter import Interpreter
from thv_packages.requirement import Requirement

__all__ = ["Recipe", "counted"]


@dataclass(frozen=True)
class Recipe:
    """A package, the exact wheels with their hashes that it needs (a requirements file), and its interpreter."""

    requirement: Requirement
    interpreter: Interpreter
    lock: str

    @property
    def digest(self) -> str:
        """Name the root by all that decides its content, and by the package, because it decides the command."""
        python = self.interpreter
        content = [self.requirement.name, self.lock, python.executable, python.version, python.abi, python.platform]
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:32]

    @property
    def packages(self) -> int:
        """How many packages the lock names."""
        return len(re.findall(r"^[A-Za-z0-9]", self.lock, re.MULTILINE))


def counted(packages: int) -> str:
    """Say how many packages there are."""
    return f"{packages} package{'' if packages == 1 else 's'}"
