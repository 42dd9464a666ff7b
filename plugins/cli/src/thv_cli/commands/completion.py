"""``thv completion``: the script by which a shell completes commands, options and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from thv_cli.programs import COMPLETION_VARIABLES

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
@click.option("--no-descriptions", is_flag=True, help="Complete names without saying what they are.")
@click.pass_context
def completion(context: click.Context, shell: str, no_descriptions: bool) -> None:
    """Print the completion script of a shell."""
    from thv_cli.completing import script  # a few milliseconds that no other command spends

    console: Console = context.obj
    for program in COMPLETION_VARIABLES:
        console.line(script(context.find_root().command, shell, program, described=not no_descriptions))
