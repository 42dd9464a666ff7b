"""What shells are given for completion: the script that asks, and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class, shell_complete

from thv_cli.programs import COMPLETION_VARIABLES
from thv_core.errors import Unsupported

if TYPE_CHECKING:
    from thv_cli.console import TerminalConsole

__all__ = ["answer", "script"]

NAMES = "names"
"""What a script asks for instead of ``complete`` when it wants no descriptions."""


def script(command: click.Command, shell: str, program: str, *, described: bool) -> str:
    """Return the script by which a shell completes a program.

    :raises Unsupported: when this version of click does not know the shell.
    """
    source = _form(shell)(command, {}, program, COMPLETION_VARIABLES[program]).source()
    asks = f"{COMPLETION_VARIABLES[program]}={shell}_"
    return source if described else source.replace(f"{asks}complete", f"{asks}{NAMES}")


def answer(command: click.Command, console: TerminalConsole, program: str) -> int:
    """Answer the shell that asks in the environment, and return the exit code."""
    variable = COMPLETION_VARIABLES[program]
    instruction = console.environment[variable]
    shell, _, wanted = instruction.partition("_")
    if wanted != NAMES:
        return shell_complete(command, {"obj": console}, program, variable, instruction)
    completion = _form(shell)(command, {"obj": console}, program, variable)
    found = completion.get_completions(*completion.get_completion_args())
    lines = [completion.format_completion(CompletionItem(each.value, each.type)) for each in found]
    click.echo("\n".join(lines).encode())
    return 0


def _form(shell: str) -> type[ShellComplete]:
    form = get_completion_class(shell)
    if form is None:
        raise Unsupported(f"this version of click does not know the shell {shell}")
    return form
