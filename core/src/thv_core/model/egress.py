"""What is recorded of outbound connections."""

from __future__ import annotations

from enum import StrEnum

from thv_core.model.document import Document

__all__ = ["CallInFlight", "EgressRecord", "Verdict", "Way"]


class Verdict(StrEnum):
    """Whether a connection was made, refused by the profile, or allowed and failed."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"


class Way(StrEnum):
    """How a connection came: ``name`` by a looked-up name, ``connect`` and ``http`` by the proxy, ``dns`` a look-up."""

    NAME = "name"
    CONNECT = "connect"
    HTTP = "http"
    DNS = "dns"


class CallInFlight(Document, frozen=True, kw_only=True):
    """A request that the server had not answered yet: its method, its tool or resource, and its session."""

    method: str
    name: str = ""
    session: str = ""
    user: str = ""


class EgressRecord(Document, frozen=True, kw_only=True):
    """One outbound connection, or an attempt.

    ``at`` is seconds since the epoch at its begin, ``seconds`` how long it lasted, ``sent`` and ``received`` bytes as
    the server sees them. ``rule`` is the entry of the profile that allowed it; ``reason`` says why it was denied or
    failed. ``address`` is the resolved one, or that of the parent proxy with ``via`` naming it. ``times`` counts equal
    look-ups that one record stands for.
    """

    at: float
    workload: str
    incarnation: str
    way: Way
    verdict: Verdict
    host: str
    port: int = 0
    address: str = ""
    via: str = ""
    rule: str = ""
    reason: str = ""
    sent: int = 0
    received: int = 0
    seconds: float = 0.0
    times: int = 1
    calls: tuple[CallInFlight, ...] = ()
