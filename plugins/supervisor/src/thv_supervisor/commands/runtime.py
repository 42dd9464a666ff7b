"""``thv runtime``: what can isolate servers here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["runtime"]


@click.group(short_help="Look at the runtimes.")
def runtime() -> None:
    """Look at what can isolate servers on this machine."""


@runtime.command(short_help="Tell whether servers can be isolated here.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)
@click.pass_obj
def check(console: Console, form: str) -> None:
    """Tell whether the chosen runtime can isolate servers here, and what it uses."""
    from thv_core.errors import RuntimeUnavailable
    from thv_core.kernel import compose
    from thv_core.spi.runtimes import Runtime

    kernel = compose(console.environment, sys.platform)
    name = kernel.configuration.runtime
    probe = kernel.drivers.get(Runtime, name).probe()
    if not probe.ready:
        raise RuntimeUnavailable(
            "no runtime here can isolate a server", evidence=[f"{name}: {probe.detail}"], hint=probe.hint
        )
    if form == "json":
        console.document({"runtime": name, "ready": True, "detail": probe.detail})
    else:
        console.line(f"{name}: {probe.detail}")
