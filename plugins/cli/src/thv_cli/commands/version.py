"""``thv version``: what is installed and where, and which processes run."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

import thv_core

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thv_core.spi.console import Console

__all__ = ["version"]

LIMIT = 1.0
"""Seconds that control may take to say what runs."""

MOST = 1 << 16


@click.command(short_help="Show the version of thv and what it runs on.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to show it.")
@click.option("--json", "as_json", is_flag=True, hidden=True, help="Deprecated: use --format json.")
@click.pass_obj
def version(console: Console, form: str, as_json: bool) -> None:
    """Show the version of thv, the Python and platform that it runs on, where it is, and which processes run.

    Nothing is started. Processes of another environment are named, with who is in charge after the next command.
    """
    machine = os.uname()
    facts = {
        "version": thv_core.__version__,
        "python_version": platform.python_version(),
        "python": sys.executable,
        "platform": f"{sys.platform}/{machine.machine}",
        "location": str(Path(thv_core.__file__).parent.parent),
    }
    processes = _processes(console.environment)
    if as_json:
        console.message("--json is deprecated, use --format json")
    if as_json or form == "json":
        console.document({**facts, "processes": processes})
        return
    console.line(f"thv {facts['version']}")
    console.line(f"Python:    {facts['python_version']} ({facts['python']})")
    console.line(f"Platform:  {facts['platform']}")
    console.line(f"Location:  {facts['location']}")
    console.line(f"Processes: {_said(processes)}")


def _processes(environment: Mapping[str, str]) -> dict[str, object]:
    """Return what control says of itself, and how its environment relates to this one; it is not started."""
    try:
        told = _told(environment)
    except (FileNotFoundError, ConnectionRefusedError):
        return {"running": False}
    except (OSError, ValueError):
        return {"running": True, "answers": False}
    relation = _relation(str(told.get("prefix", "")), str(told.get("version", "")))
    return {"running": True, "answers": True, **told, "environment": relation}


def _told(environment: Mapping[str, str]) -> dict[str, object]:
    """Ask control for its version, without the header that could make it give way to this environment.

    :raises OSError: when it does not answer; FileNotFoundError when it cannot be there.
    :raises ValueError: when its answer is none.
    """
    import json
    from contextlib import closing
    from http.client import HTTPConnection, HTTPException

    from thv_core.errors import ThvError
    from thv_core.state.files import connect_unix
    from thv_core.state.paths import Paths

    try:
        socket = Paths.from_environment(environment, sys.platform).control_socket
        with closing(HTTPConnection("control", timeout=LIMIT)) as connection:
            connection.sock = connect_unix(socket, LIMIT)
            connection.sock.settimeout(LIMIT)
            connection.request("GET", "/api/v1beta/version")
            answer = json.loads(connection.getresponse().read(MOST))
    except HTTPException as error:
        raise ValueError(str(error)) from None
    except ThvError as error:  # there is no place where it could listen
        raise FileNotFoundError(str(error)) from None
    if not isinstance(answer, dict) or "prefix" not in answer:
        raise ValueError("control does not say what it is")
    return cast("dict[str, object]", answer)


def _relation(prefix: str, running: str) -> str:
    if prefix == sys.prefix:
        return "this" if running == thv_core.__version__ else "renewed"
    return "stays" if _rank(running) > _rank(thv_core.__version__) else "gives way"


def _rank(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _said(processes: Mapping[str, object]) -> str:
    if not processes["running"]:
        return "not running"
    if not processes["answers"]:
        return "running, but control does not answer"
    facts = f"{processes['version']} (pid {processes['pid']}, since {processes['started_at']})"
    return facts + _RELATIONS[str(processes["environment"])].format(processes["interpreter"])


_RELATIONS = {
    "this": "",
    "renewed": ", replaced by the next command",
    "gives way": "\n           from {}, an environment that gives way to this one at the next command",
    "stays": "\n           from {}, an environment that stays in charge because its version is higher",
}
