"""``thv version``: what is installed, and where."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import thv_core

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["version"]


@click.command(short_help="Show the version of thv and what it runs on.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to show it.")
@click.option("--json", "as_json", is_flag=True, hidden=True, help="Deprecated: use --format json.")
@click.pass_obj
def version(console: Console, form: str, as_json: bool) -> None:
    """Show the version of thv, the Python and platform that it runs on, and where its distributions are."""
    machine = os.uname()
    facts = {
        "version": thv_core.__version__,
        "python_version": platform.python_version(),
        "python": sys.executable,
        "platform": f"{sys.platform}/{machine.machine}",
        "location": str(Path(thv_core.__file__).parent.parent),
    }
    if as_json:
        console.message("--json is deprecated, use --format json")
    if as_json or form == "json":
        console.document(facts)
        return
    console.line(f"thv {facts['version']}")
    console.line(f"Python:    {facts['python_version']} ({facts['python']})")
    console.line(f"Platform:  {facts['platform']}")
    console.line(f"Location:  {facts['location']}")
