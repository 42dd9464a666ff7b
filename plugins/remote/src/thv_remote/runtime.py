"""The runtime of servers that run somewhere else: it starts nothing, and remembers which lives of them are served.

A life of such a server is a configuration: when it is changed, a new life takes the place of the former one like that
of any other server, without a failed call. One empty file for each says that it is served, or was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from thv_core.errors import NotFound, SettingsError, Unsupported
from thv_core.spi import (
    Deployment,
    DeploymentPlan,
    Namespace,
    Observed,
    ObservedState,
    Probe,
    Progress,
    Runtime,
    RuntimeCapabilities,
    Stdio,
    Surroundings,
)

__all__ = ["RemoteRuntime"]

_NOWHERE = Stdio(stdin="", stdout="", lock="")
_SERVED = ".served"
_ENDED = ".ended"
_FILE = re.compile(r"(?P<workload>.+)\.(?P<generation>[0-9]+)(?P<state>\.served|\.ended)")
_STATES = {_SERVED: ObservedState.RUNNING, _ENDED: ObservedState.EXITED}


class RemoteRuntime(Runtime):
    """Keeps what runs somewhere else; :attr:`capabilities` are none, because nothing runs here."""

    capabilities = RuntimeCapabilities()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct it below ``surroundings.state``; it has no settings."""
        if settings:
            raise SettingsError(f"{min(settings)} is not a setting of the runtime remote", hint="It has none.")
        return cls(surroundings.state / "remote")

    def probe(self) -> Probe:
        """Say that there is nothing to isolate."""
        return Probe(ready=True, detail="servers that run somewhere else; nothing runs here")

    def prepare(self, plan: DeploymentPlan, report: Callable[[Progress], None]) -> None:
        """Refuse what is to run here."""
        if plan.command:
            raise Unsupported(
                f"the runtime remote runs no programs, and {plan.deployment.workload} is one",
                hint="Leave the runtime out, or name another:  thv runtime check",
            )

    def deploy(self, plan: DeploymentPlan, connect: Callable[[Namespace], None]) -> Observed:
        """Note that a life is served; one that has ended stays ended."""
        self.prepare(plan, lambda _: None)
        ended = self._path(plan.deployment, _ENDED)
        served = self._path(plan.deployment, _SERVED)
        if ended.exists():
            return _observed(plan.deployment, ended, _ENDED)
        if not served.exists():
            served.touch(mode=0o600)
        return _observed(plan.deployment, served, _SERVED)

    def stop(self, deployment: Deployment, grace: float) -> None:
        """Note that a life is served no more."""
        served = self._path(deployment, _SERVED)
        if served.exists():
            served.replace(self._path(deployment, _ENDED))

    def remove(self, deployment: Deployment) -> None:
        """Forget a life."""
        for state in _STATES:
            self._path(deployment, state).unlink(missing_ok=True)

    def observe(self) -> Sequence[Observed]:
        """List every life that was not removed."""
        found = [(_FILE.fullmatch(path.name), path) for path in sorted(self._folder.iterdir())]
        return [
            _observed(Deployment(workload=match["workload"], generation=int(match["generation"])), path, match["state"])
            for match, path in found
            if match
        ]

    def logs(self, deployment: Deployment, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """Yield nothing: what a server writes somewhere else is read there. With ``follow`` until its life ends."""
        if not any(self._path(deployment, state).exists() for state in _STATES):
            raise NotFound(f"{deployment.label} is not served")
        return self._silence(deployment, follow=follow)

    def _silence(self, deployment: Deployment, *, follow: bool) -> Iterator[bytes]:
        while follow and self._path(deployment, _SERVED).exists():
            yield b""

    def _path(self, deployment: Deployment, state: str) -> Path:
        return self._folder / f"{deployment.label}{state}"


def _observed(deployment: Deployment, path: Path, state: str) -> Observed:
    return Observed(
        deployment=deployment, state=_STATES[state], stdio=_NOWHERE, started_at=path.stat().st_mtime, exit_code=None
    )
