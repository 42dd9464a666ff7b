"""``thv completion``: the script by which a shell completes commands, options and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from thv_cli.programs import COMPLETION_VARIABLES
from thv_core.errors import Unsupported

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["completion"]

_HELP = """Print the script that lets SHELL complete commands, options and names, for thv and toolhive.

\b
bash   echo 'eval "$(thv completion bash)"' >> ~/.bashrc
zsh    echo 'eval "$(thv completion zsh)"' >> ~/.zshrc
fish   thv completion fish > ~/.config/fish/completions/thv.fish
"""


@click.command(short_help="Print the completion script of a shell.", help=_HELP)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class  # a few milliseconds that no other command spends

    console: Console = context.obj
    form = get_completion_class(shell)
    if form is None:
        raise Unsupported(f"this version of click does not know the shell {shell}")
    for program, variable in COMPLETION_VARIABLES.items():
        console.line(form(context.find_root().command, {}, program, variable).source())
