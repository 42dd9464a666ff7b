"""The documents that are answered and that are no part of the model."""

from __future__ import annotations

from thv_core.model.document import Document
from thv_core.model.egress import EgressRecord
from thv_core.model.events import Progress
from thv_core.model.workload import WorkloadView
from thv_supervisor.control.api.refusing import ErrorDocument

__all__ = [
    "Abandoned",
    "CreateGroupAnswer",
    "CreateWorkloadAnswer",
    "EgressLine",
    "EnvironmentVersion",
    "GroupList",
    "GroupView",
    "LeaseLine",
    "Listening",
    "PrunedLogs",
    "StoryLine",
    "WorkloadList",
]


class WorkloadList(Document, frozen=True, kw_only=True):
    """ToolHive's ``workloadListResponse``."""

    workloads: tuple[WorkloadView, ...]


class CreateWorkloadAnswer(Document, frozen=True, kw_only=True):
    """ToolHive's ``createWorkloadResponse``."""

    name: str
    port: int


class GroupView(Document, frozen=True, kw_only=True):
    """ToolHive's ``groups.Group``; ``workloads`` is ours."""

    name: str
    registered_clients: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()


class GroupList(Document, frozen=True, kw_only=True):
    """ToolHive's ``groupListResponse``."""

    groups: tuple[GroupView, ...]


class CreateGroupAnswer(Document, frozen=True, kw_only=True):
    """ToolHive's ``createGroupResponse``."""

    name: str


class EnvironmentVersion(Document, frozen=True, kw_only=True):
    """The version, and the environment that control runs in; ``started_at`` is an ISO 8601 instant."""

    version: str
    interpreter: str
    prefix: str
    pid: int
    started_at: str


class Abandoned(Document, frozen=True, kw_only=True):
    """The workloads that were removed because whoever asked for them gave up."""

    removed: tuple[str, ...]


class PrunedLogs(Document, frozen=True, kw_only=True):
    """The paths of the log files that were deleted."""

    pruned: tuple[str, ...]


class StoryLine(Document, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a story: a step, and at its end the workload or the error."""

    progress: Progress | None = None
    ready: WorkloadView | None = None
    error: ErrorDocument | None = None


class EgressLine(EgressRecord, frozen=True, kw_only=True):
    """One connection, with the group of its workload; empty when that is gone."""

    group: str = ""


class Listening(Document, frozen=True, kw_only=True):
    """Where a listener listens; ``token_file`` is the path of the token that it wants, or empty."""

    url: str
    token_file: str = ""


class LeaseLine(Document, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a lease: where it listens, nothing while it lives, and ``ended`` when control is to end."""

    listening: Listening | None = None
    ended: str = ""
