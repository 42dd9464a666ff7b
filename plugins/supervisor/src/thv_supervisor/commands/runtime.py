"""``thv runtime``: what can isolate servers here, and which one does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.commands.completing import runtime_names

if TYPE_CHECKING:
    from thv_core.errors import ThvError
    from thv_core.kernel import Kernel
    from thv_core.spi.console import Console
    from thv_core.spi.runtimes import Probe

__all__ = ["runtime"]


@click.group(short_help="Look at the runtimes, and choose one.")
def runtime() -> None:
    """Look at what can isolate servers on this machine, and choose."""


@runtime.command(short_help="Tell whether servers can be isolated here.")
@click.option(
    "--timeout", default=30, show_default=True, type=click.IntRange(1, 3600), help="Seconds that an answer may take."
)
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)
@click.pass_obj
def check(console: Console, timeout: int, form: str) -> None:
    """Tell of each installed runtime whether it can isolate servers here, and what it uses.

    The exit code is 1 when the chosen one cannot.
    """
    from thv_core.kernel import compose
    from thv_core.spi.runtimes import Runtime

    kernel = compose(console.environment, sys.platform)
    chosen = kernel.configuration.runtime
    names = dict.fromkeys([chosen, *kernel.drivers.names(Runtime)])
    probes = {name: _probed(kernel, name, timeout) for name in names}
    if not probes[chosen].ready:
        raise _unready(chosen, probes)
    if form == "json":
        console.document(_document(chosen, probes))
        return
    for name, probe in probes.items():
        word = "" if probe.ready else "not ready: "
        console.line(f"{name}: {word}{probe.detail}{' (chosen)' if len(probes) > 1 and name == chosen else ''}")


@runtime.command(short_help="Choose the runtime of new servers.")
@click.argument("name", shell_complete=runtime_names)
@click.option(
    "--timeout", default=30, show_default=True, type=click.IntRange(1, 3600), help="Seconds that an answer may take."
)
@click.pass_obj
def use(console: Console, name: str, timeout: int) -> None:
    """Choose NAME as the runtime of new servers, if it can isolate servers here."""
    from thv_core.errors import RuntimeUnavailable
    from thv_core.kernel import compose
    from thv_core.spi.runtimes import Runtime
    from thv_core.state.configuration import ConfigurationFile

    kernel = compose(console.environment, sys.platform)
    kernel.drivers.get(Runtime, name)
    probe = _probed(kernel, name, timeout)
    if not probe.ready:
        raise RuntimeUnavailable(f"{name} cannot isolate servers here", evidence=[probe.detail], hint=probe.hint)
    ConfigurationFile(kernel.paths.config_file).set("runtime", name)
    console.message(f"{name} is now the default runtime. Running servers stay where they are.")


def _probed(kernel: Kernel, name: str, timeout: int) -> Probe:
    """Ask a runtime, in a thread that is left behind when it does not answer in time."""
    from thv_core.errors import ThvError
    from thv_core.spi.runtimes import Probe, Runtime
    from thv_supervisor.commands.together import within

    try:
        return within(timeout, lambda: kernel.drivers.get(Runtime, name).probe())
    except ThvError as error:
        return Probe(ready=False, detail=": ".join([error.message, *error.evidence]), hint=error.hint)


def _unready(chosen: str, probes: dict[str, Probe]) -> ThvError:
    from thv_core.errors import RuntimeUnavailable

    ready = [name for name, probe in probes.items() if probe.ready]
    if ready:
        return RuntimeUnavailable(
            f"{chosen} cannot isolate servers here",
            evidence=[f"{chosen}: {probes[chosen].detail}"],
            hint=f"{probes[chosen].hint}\nOr use another:  thv runtime use {ready[0]}".lstrip(),
        )
    hints = [probe.hint for probe in probes.values() if probe.hint]
    return RuntimeUnavailable(
        "no runtime here can isolate a server",
        evidence=[f"{name}: {probe.detail}" for name, probe in probes.items()],
        hint="\n".join(hints),
    )


def _document(chosen: str, probes: dict[str, Probe]) -> dict[str, Any]:
    every = [{"runtime": name, "ready": probe.ready, "detail": probe.detail} for name, probe in probes.items()]
    return {"runtime": chosen, "ready": True, "detail": probes[chosen].detail, "runtimes": every}
