"""Bring what runs to what a manifest says, workload by workload."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from thv_core.errors import InvalidDocument, NotFound, RolledBack, ThvError
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig
from thv_core.services.manifest import Change, ChangeKind, Manifest, changes
from thv_supervisor.client import ControlClient
from thv_supervisor.network_variables import network_variables
from thv_supervisor.requesting import shell_values
from thv_supervisor.serving_flags import header_references
from thv_supervisor.wire import GROUPS, RUNS, WORKLOADS, run_path, workload_path

__all__ = ["Applying", "Outcome", "Plan", "Task", "plan", "present_configs"]

ENDING = 150.0
"""Seconds that the end of a server may take, beyond its grace."""

RESTING = ("stopped", "stopping", "error")


@dataclass(frozen=True)
class Task:
    """A change of one workload; ``resumes`` tells that it is as it should be, and does not run."""

    change: Change
    resumes: bool = False

    @property
    def acts(self) -> bool:
        """Whether there is anything to do."""
        return self.resumes or self.change.kind is not ChangeKind.UNCHANGED


@dataclass(frozen=True)
class Plan:
    """The groups that have to be created, and then what is to be done, in order."""

    groups: tuple[str, ...]
    tasks: tuple[Task, ...]

    @property
    def acts(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.groups) or any(task.acts for task in self.tasks)


@dataclass(frozen=True)
class Outcome:
    """How one task ended: ``text`` for people, and the error if it failed."""

    task: Task
    text: str
    seconds: float = 0.0
    error: ThvError | None = None


def present_configs(client: ControlClient) -> tuple[dict[str, RunConfig], dict[str, str]]:
    """Return the configuration and the status of each workload that there is; nothing is written."""
    statuses = {view["name"]: view["status"] for view in client.call("GET", f"{WORKLOADS}?all=true")["workloads"]}
    configs = {name: config for name in statuses if (config := _config(client, name)) is not None}
    return configs, statuses


def plan(manifest: Manifest, client: ControlClient, prune: bool) -> Plan:
    """Return what is to be done so that the manifest is true; nothing is written.

    :raises NotFound: when a workload is in a group that nobody makes.
    """
    configs, statuses = present_configs(client)
    groups = [group["name"] for group in client.call("GET", GROUPS)["groups"]]
    tasks = [Task(change, _resumes(change, statuses)) for change in changes(manifest, configs, groups, prune)]
    return Plan(tuple(group for group in manifest.groups if group not in groups), tuple(tasks))


def _resumes(change: Change, statuses: Mapping[str, str]) -> bool:
    return change.kind is ChangeKind.UNCHANGED and statuses.get(change.name) in RESTING


def _config(client: ControlClient, name: str) -> RunConfig | None:
    try:
        return msgspec.convert(client.call("GET", workload_path(name, "export")), RunConfig)
    except NotFound:
        return None
    except msgspec.ValidationError as error:
        raise InvalidDocument(
            f"the configuration of {name} is one of another version of thv",
            evidence=[str(error)],
            hint="thv version shows which processes run.",
        ) from None


class Applying:
    """One application of a plan; ``outcomes`` are those so far, ``under_way`` is the task that has not ended.

    ``going_on`` receives the name of a workload, and what happens to it.
    """

    def __init__(
        self, client: ControlClient, environment: Mapping[str, str], going_on: Callable[[str, str], None]
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.under_way: Task | None = None
        self._request_id = ""
        self._client = client
        self._environment = environment
        self._going_on = going_on

    def make_groups(self, intended: Plan) -> Iterator[str]:
        """Make the groups, which workloads are put into, and yield the name of each."""
        for group in intended.groups:
            self._client.call("POST", GROUPS, body={"name": group})
            yield group

    def apply(self, intended: Plan) -> Iterator[Outcome]:
        """Do one task after the other, and yield how each ended; one that fails keeps no other from its turn."""
        for task in intended.tasks:
            self.under_way = task
            outcome = self._outcome(task)
            self.under_way = None
            self.outcomes.append(outcome)
            yield outcome

    def abandon(self) -> str:
        """Undo what an interrupted task has begun, and return a sentence about it, or nothing."""
        if self.under_way is None:
            return ""
        change = self.under_way.change
        if not self._request_id:
            return f"interrupted: what was asked of {change.name} goes on; see  thv list --all"
        self._client.call("DELETE", run_path(self._request_id), limit=ENDING)
        is_done = _config(self._client, change.name) == change.config
        return f"interrupted: {change.name} {'has changed already' if is_done else 'is as it was'}"

    def _outcome(self, task: Task) -> Outcome:
        began = time.monotonic()
        self._request_id = ""
        try:
            text = self._done(task)
        except ThvError as error:
            return Outcome(task, _reason(error), time.monotonic() - began, error)
        return Outcome(task, text, time.monotonic() - began if task.acts else 0.0)

    def _done(self, task: Task) -> str:
        name = task.change.name
        if task.resumes:
            self._followed(name, workload_path(name, "restart"))
            return "started again"
        return self._kinds()[task.change.kind](task.change)

    def _kinds(self) -> dict[ChangeKind, Callable[[Change], str]]:
        return {
            ChangeKind.NEW: self._new,
            ChangeKind.CHANGED: self._changed,
            ChangeKind.UNCHANGED: lambda change: "unchanged",
            ChangeKind.REMOVED: self._removed,
        }

    def _new(self, change: Change) -> str:
        self._followed(change.name, RUNS, self._request(change, ""))
        return "ready"

    def _changed(self, change: Change) -> str:
        steps = self._followed(change.name, RUNS, self._request(change, change.name))
        if "swapped" in steps:
            return f"swapped, {steps['swapped']}"
        # A change that needs no new life, of labels or the group, starts none where none runs.
        if self._client.call("GET", workload_path(change.name, "status"))["status"] not in RESTING:
            return "changed"
        self._followed(change.name, workload_path(change.name, "restart"))
        return "changed, and started again"

    def _removed(self, change: Change) -> str:
        self._going_on(change.name, "is removed")
        self._client.call("DELETE", f"{workload_path(change.name)}?wait=true", limit=ENDING)
        return "removed"

    def _request(self, change: Change, replaces: str) -> dict[str, Any]:
        config = change.config
        assert config is not None  # noqa: S101 - only a removal has none
        request = RunRequest(
            request_id=str(uuid.uuid4()),
            run_config=config,
            shell_values=shell_values(
                (*config.secret_references, *header_references(config.header_forward)), self._environment
            ),
            network=network_variables(self._environment),
            replaces=replaces,
        )
        self._request_id = request.request_id
        plain: dict[str, Any] = msgspec.to_builtins(request)
        return plain

    def _followed(self, name: str, path: str, body: object = None) -> dict[str, str]:
        """Follow the story of a start or a change, and return what was said of each step."""
        steps: dict[str, str] = {}
        for document in self._client.story("POST", path, body):
            if progress := document.get("progress"):
                steps[progress["step"]] = progress["text"]
                self._going_on(name, f"{progress['step']}: {progress['text']}")
        return steps


def _reason(error: ThvError) -> str:
    if isinstance(error, RolledBack):
        return f"rolled back: {next(iter(error.evidence), error.message)}"
    return f"failed: {error.message}"
