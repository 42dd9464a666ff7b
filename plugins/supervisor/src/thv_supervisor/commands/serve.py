"""``thv serve``: the API for desktop apps and scripts, for as long as the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["serve"]

AUTHENTICATION = "THV_API_AUTH"


@click.command(short_help="Serve the API for desktop apps and scripts.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen at.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 chooses one.")
@click.option("--socket", default="", metavar="PATH", help="Listen at a Unix socket instead.")
@click.option("--openapi", is_flag=True, help="Serve the description of the API, too, at /api/doc.")
@click.option("--no-auth", is_flag=True, help="Want no token; on loopback only.")
@click.option("--stop", is_flag=True, help="End the processes that run; servers live on.")
@click.pass_obj
def serve(console: Console, /, **flags: Any) -> None:
    """Serve the API until Ctrl-C: on the processes that run, or on those that this command starts and ends.

    Prints the URL. Requests on TCP carry the token of a file that only you can read. Servers live on in any case.
    """
    from thv_supervisor.serving import Serving

    serving = Serving(console)
    if flags["stop"]:
        serving.stop()
        return
    socket = flags["socket"]
    serving.serve(
        {
            "host": flags["host"],
            "port": flags["port"],
            "socket": str(console.directory / Path(socket).expanduser()) if socket else "",
            "auth": "none" if flags["no_auth"] or _wants_none(console) else "token",
            "openapi": flags["openapi"],
        }
    )


def _wants_none(console: Console) -> bool:
    """Tell whether the environment says that no token is wanted; it has one other word to say, ``token``."""
    from thv_core.errors import InvalidRequest

    said = console.environment.get(AUTHENTICATION, "token") or "token"
    if said not in ("token", "none"):
        raise InvalidRequest(
            f"{AUTHENTICATION} is {said!r}", hint=f"Set it to token or none, or unset it: {AUTHENTICATION}"
        )
    return said == "none"
