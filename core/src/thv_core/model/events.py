"""What happens, as frozen values: progress for the user who waits, and events for observers."""

from __future__ import annotations

from thv_core.model.document import Document
from thv_core.model.status import Status

__all__ = ["Progress", "WorkloadEvent"]


class Progress(Document, frozen=True, kw_only=True):
    """One step that a person waits for.

    ``step`` is a word: ``prepared`` for one that is done, ``downloading`` for one that goes on (``done`` is false).
    ``seconds`` is how long it took.
    """

    step: str
    text: str
    seconds: float = 0.0
    done: bool = True


class WorkloadEvent(Document, frozen=True, kw_only=True):
    """A workload changed its status; ``at`` is seconds since the epoch."""

    workload: str
    status: Status
    reason: str
    generation: int
    at: float
