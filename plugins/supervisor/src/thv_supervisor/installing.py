"""Put the processes of thv under the care of the init system, and take them back; servers live on in both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from thv_core.errors import NotFound, ThvError
from thv_core.state.paths import Paths
from thv_supervisor.client import ControlClient
from thv_supervisor.ending import end_processes
from thv_supervisor.init_systems import Launchd, Systemd, init_system
from thv_supervisor.launching import command, is_supervised, prepare
from thv_supervisor.units import Boot, unit_environment, withheld
from thv_supervisor.wire import WORKLOADS, workload_path

__all__ = ["Service"]

FORGOTTEN = "values from a shell are forgotten: restart these from a shell that has them when they must start anew: "


class Service:
    """The service of one user's state directory; ``message`` receives sentences for the user."""

    def __init__(self, environment: Mapping[str, str], message: Callable[[str], None]) -> None:
        self._environment = environment
        self._message = message
        self._paths = Paths.from_environment(environment, sys.platform)
        self._init = init_system(environment)

    def install(self) -> None:
        """Write the file and let the init system start it, handing over processes that run already.

        :raises ThvError: when the file is somebody else's, or the init system refuses it.
        """
        prepare(self._paths)
        former = self._former()
        self._init.write(self._boot(), self._paths.state)
        self._message(f"wrote {self._init.file}")
        if names := withheld(self._environment):
            self._message(f"not written there, because they may hold credentials: {', '.join(names)}")
        if not self._init.answers():
            self._message(f"{self._init.name} does not answer here. Where it does:  {self._init.by_hand()}")
            return
        active = self._init.is_active()
        if is_supervised(self._paths) and not active:
            self._hand_over()
        self._init.activate()
        self._message(f"the processes of thv run as a service, {self._init.since()}")
        if active and former != self._init.installed():
            self._message("they ran already: what changed in the file holds from their next start:  thv serve --stop")
        if hint := self._init.before_login():
            self._message(f"to run them from boot on:  {hint}")

    def uninstall(self) -> None:
        """Stop the service and remove its file; servers live on, and the next command starts the processes anew.

        :raises NotFound: when there is no file of ours.
        """
        if not self._init.serves(self._paths.state):
            raise NotFound("the service of thv is not installed", hint="thv service install")
        if self._init.answers():
            self._init.deactivate()
        self._init.file.unlink(missing_ok=True)
        self._init.forget()
        self._message(f"removed {self._init.file}; servers live on and are found again by the next command")

    def status(self) -> dict[str, object]:
        """Return what is installed and what runs; nothing is started."""
        installed = self._init.serves(self._paths.state)
        active = installed and self._init.is_active()
        running = self._paths.lock.exists() and is_supervised(self._paths)
        return {
            "installed": installed,
            "init_system": self._init.name,
            "file": str(self._init.file),
            "active": active,
            "at_boot": installed and self._init.lingers(),
            "at_boot_hint": self._init.before_login(),
            "processes": _PROCESSES[running, active],
        }

    def _former(self) -> str | None:
        return self._init.installed() if self._init.serves(self._paths.state) else None

    def _boot(self) -> Boot:
        personal = isinstance(self._init, Launchd) or bool(self._init.user)
        return Boot(
            command=tuple(command(self._paths)),
            log=str(self._paths.supervisor_log),
            environment=unit_environment(self._environment, personal),
            personal=personal,
            version=self._init.version() if isinstance(self._init, Systemd) else 0,
        )

    def _hand_over(self) -> None:
        client = ControlClient(self._environment, self._message)
        forgotten = _shell_bound(client)
        end_processes(client, self._paths)
        if forgotten:
            self._message(FORGOTTEN + ", ".join(forgotten))


_PROCESSES = {
    (True, True): "run as the service",
    (True, False): "run, but not as the service",
    (False, True): "are being started by the service",
    (False, False): "do not run",
}


def _shell_bound(client: ControlClient) -> list[str]:
    """Return the names of workloads with a secret whose value only the memory of control has."""
    names = [view["name"] for view in client.call("GET", f"{WORKLOADS}?all=true")["workloads"]]
    return [name for name in names if _is_shell_bound(client, name)]


def _is_shell_bound(client: ControlClient, name: str) -> bool:
    try:
        secrets = client.call("GET", workload_path(name, "export")).get("secrets", [])
    except ThvError:
        return False
    return any(text.startswith("env:") for text in secrets)
