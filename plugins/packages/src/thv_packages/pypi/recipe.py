"""What a root is made from, and the name that follows from it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import msgspec

from thv_packages.pypi.interpreter import Interpreter
from thv_packages.pypi.requirement import Requirement

__all__ = ["Recipe"]

_FROM_SOURCE = "from source"


@dataclass(frozen=True)
class Recipe:
    """A package, the exact files with their hashes that it needs (a requirements file), and its interpreter.

    Of a package that is built from source nobody knows what it needs before its code has run: ``lock`` is empty until
    it was made, in isolation, and does not decide the name of the root.
    """

    requirement: Requirement
    interpreter: Interpreter
    lock: str = ""

    @property
    def digest(self) -> str:
        """Name the root by all that decides its content, and by the package, because it decides the command."""
        python = self.interpreter
        made_of = self.lock or f"{_FROM_SOURCE} {self.requirement.line}"
        content = [self.requirement.name, made_of, python.executable, python.version, python.abi, python.platform]
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:32]

    @property
    def packages(self) -> int:
        """How many packages the lock names."""
        return len(re.findall(r"^[A-Za-z0-9]", self.lock, re.MULTILINE))
