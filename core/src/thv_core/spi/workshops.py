"""The contract of workshops: isolated rooms in which builders run what they do not trust. Handed to builders."""

from __future__ import annotations

from typing import Protocol

from thv_core.model.document import Document
from thv_core.model.plan import Environment, ResourceLimits

__all__ = ["Finished", "Job", "Workshop"]


class Job(Document, frozen=True, kw_only=True):
    """One command to run in isolation.

    ``name`` is a word for logs. ``read`` and ``write`` are absolute paths of this machine that it sees at the same
    path; ``write`` are folders of the builder's own cache. ``reach`` are entries as in ``allow_host`` of a profile
    (``index.example:443``). ``seconds`` is its time limit.
    """

    name: str
    command: tuple[str, ...]
    environment: Environment = Environment()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    reach: tuple[str, ...] = ()
    seconds: float = 900.0
    limits: ResourceLimits = ResourceLimits(memory=4 << 30, pids=1024, files=4096)


class Finished(Document, frozen=True, kw_only=True):
    """How a job ended: ``output`` is the end of what it wrote, at most 256 KiB; ``exit_code`` -1 is a time-out."""

    exit_code: int
    output: str = ""

    @property
    def timed_out(self) -> bool:
        """Whether it was ended because its time was over."""
        return self.exit_code == -1


class Workshop(Protocol):
    """Runs jobs in the isolation of the chosen runtime."""

    def run(self, job: Job) -> Finished:
        """Run a job to its end; nothing of it is left but what it wrote into ``job.write``.

        The files that it leaves there may belong to another user than the caller's.

        :raises ThvError: when it cannot be isolated or started.
        """
        ...
