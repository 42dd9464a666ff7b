"""Which installation of thv a process runs from, and which of two takes over. Pure but for :func:`installation`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, astuple, dataclass
from enum import StrEnum

from thv_core import __version__
from thv_core.loading.catalog import Catalog, scan

__all__ = ["HEADER", "Installation", "Verdict", "installation", "verdict"]

HEADER = "x-thv-installation"
"""The request header by which a caller names its installation, as one JSON object in ASCII."""


@dataclass(frozen=True)
class Installation:
    """An environment by its folder, a Python of it, the version of its core, and a fingerprint of its plugins."""

    prefix: str
    interpreter: str
    version: str
    fingerprint: str

    def header(self) -> str:
        """Return the value of :data:`HEADER`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_header(cls, value: str) -> Installation:
        """Return what :meth:`header` described; raises ``ValueError`` when it is not that."""
        try:
            described = cls(**json.loads(value))
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from None
        if not all(isinstance(each, str) for each in astuple(described)):
            raise ValueError("a value is not a text")
        return described


class Verdict(StrEnum):
    """What control does when a caller's installation is not its own."""

    STAY = "stay"
    RENEW = "renew"
    YIELD = "yield"
    OUTRANK = "outrank"


def installation(catalog: Catalog | None = None) -> Installation:
    """Return the installation of this process, as it was when ``catalog`` was scanned, or as it is now."""
    fingerprint = (catalog or scan()).fingerprint
    return Installation(prefix=sys.prefix, interpreter=sys.executable, version=__version__, fingerprint=fingerprint)


def verdict(own: Installation, caller: Installation) -> Verdict:
    """Decide: stay the same, renew for changed plugins, yield to the caller's environment, or outrank it.

    The higher core version takes over; of equal ones, the caller's.
    """
    if own.prefix == caller.prefix:
        same = (own.version, own.fingerprint) == (caller.version, caller.fingerprint)
        return Verdict.STAY if same else Verdict.RENEW
    return Verdict.OUTRANK if _rank(own.version) > _rank(caller.version) else Verdict.YIELD


def _rank(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
