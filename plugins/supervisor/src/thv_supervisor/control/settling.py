"""Before a request is served: is this control still the right one? If not, it says so and is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from thv_core.errors import InvalidRequest, NotReady
from thv_core.kernel import Kernel
from thv_core.state.configuration import Configuration, ConfigurationFile
from thv_supervisor.control.ground import ShellValues
from thv_supervisor.control.succession import Handover, name_interpreter, succeed
from thv_supervisor.installations import Installation, Verdict, installation, verdict
from thv_supervisor.network_variables import network_variables

__all__ = ["Settlement"]

PAUSE = 0.05
"""Seconds in which the answer that announces the replacement reaches the caller."""


@dataclass
class Settlement:
    """The installation and settings that this process was composed from, and how it is replaced."""

    own: Installation
    kernel: Kernel
    lifeline: int
    shell_values: ShellValues
    replacing: bool = False

    def settle(self, header: str | None) -> str:
        """Check a caller's installation, and the settings on disk; return what it must be told, or nothing.

        :raises NotReady: when this process is about to be replaced; the caller asks again.
        :raises SettingsError: when ``config.yaml`` was changed and is not usable.
        """
        if self.replacing:
            raise NotReady("control starts again")
        notice = self._with_caller(header) if header else ""
        latest = ConfigurationFile(self.kernel.paths.config_file).load()
        if latest != self.kernel.configuration:
            self._replace(self.own.interpreter, _renews_gateway(latest, self.kernel.configuration))
            raise NotReady("the settings changed: control starts again")
        return notice

    def adopt_network(self, wanted: Mapping[str, str] | None) -> None:
        """Make sure that packages are fetched the way that the caller's shell says, or refuse until they are.

        :raises NotReady: when this process is about to be replaced by one with those variables.
        """
        current = network_variables(os.environ)
        if wanted is None or wanted == current:
            return
        kept = {name: value for name, value in os.environ.items() if name not in current}
        self._replace(self.own.interpreter, renew_gateway=False, environment={**kept, **wanted})
        raise NotReady("your shell reaches the network another way: control starts again")

    def _with_caller(self, header: str) -> str:
        try:
            caller = Installation.from_header(header)
        except ValueError as error:
            raise InvalidRequest(f"the header of the caller's installation is malformed: {error}") from None
        decided = verdict(self.own, caller)
        if decided is Verdict.OUTRANK:
            return f"thv {self.own.version} of {self.own.interpreter} is running and newer than this {caller.version}"
        if decided is Verdict.STAY or (decided is Verdict.RENEW and self._is_current()):
            return ""
        if decided is Verdict.YIELD:
            name_interpreter(self.kernel.paths.interpreter, caller.interpreter)
            os.kill(os.getppid(), signal.SIGHUP)
        self._replace(caller.interpreter, renew_gateway=True)
        raise NotReady(_REASONS[decided].format(caller=caller))

    def _is_current(self) -> bool:
        """Tell whether this process runs what is installed: then it is the caller who started before the change."""
        return installation().fingerprint == self.own.fingerprint

    def _replace(self, interpreter: str, renew_gateway: bool, environment: Mapping[str, str] = os.environ) -> None:
        self.replacing = True
        asyncio.get_running_loop().call_later(PAUSE, self._succeed, interpreter, renew_gateway, environment)

    def _succeed(self, interpreter: str, renew_gateway: bool, environment: Mapping[str, str]) -> None:
        try:
            succeed(interpreter, self.lifeline, Handover(self.shell_values.all(), renew_gateway), environment)
        finally:
            self.replacing = False


_REASONS = {
    Verdict.RENEW: "the installed plugins changed: control starts again",
    Verdict.YIELD: "another environment takes over: {caller.interpreter} with thv-core {caller.version}",
}


def _renews_gateway(latest: Configuration, former: Configuration) -> bool:
    return _of_gateway(latest) != _of_gateway(former)


def _of_gateway(configuration: Configuration) -> tuple[object, ...]:
    """Return the settings that the gateway's process was composed from."""
    return (
        configuration.gateway,
        configuration.gateway_workers,
        configuration.egress,
        configuration.ca_certificate_path,
        configuration.plugins,
        configuration.disabled,
    )
