"""``thv service``: let systemd or launchd keep the processes of thv running, from boot on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["service"]


@click.group(short_help="Start the processes of thv at boot.")
def service() -> None:
    """Let systemd, or launchd on macOS, run the processes of thv from boot on."""


@service.command(short_help="Install the service, and start it.")
@click.pass_obj
def install(console: Console) -> None:
    """Write a unit for systemd, or an agent for launchd, and start it; for root, systemd's unit is one of the system.

    Processes that run already are handed over; servers live on. With it installed, commands start the service, and
    never processes beside it.
    """
    from thv_supervisor.installing import Service

    Service(console.environment, console.message).install()


@service.command(short_help="Tell whether the service is installed, and runs.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)
@click.pass_obj
def status(console: Console, form: str) -> None:
    """Tell whether the service is installed and active, whether it starts at boot, and whether the processes run."""
    from thv_supervisor.installing import Service

    found = Service(console.environment, console.message).status()
    if form == "json":
        console.document(found)
        return
    at_boot = "yes" if found["at_boot"] else "no"
    hint = f"   {found['at_boot_hint']}" if found["installed"] and found["at_boot_hint"] else ""
    console.line(f"installed  {found['file'] if found['installed'] else 'no'}")
    console.line(f"active     {'yes' if found['active'] else 'no'} ({found['init_system']})")
    console.line(f"at boot    {at_boot}{hint}")
    console.line(f"processes  {found['processes']}")


@service.command(short_help="Stop the service, and remove it.")
@click.pass_obj
def uninstall(console: Console) -> None:
    """Stop the service and remove its unit; servers live on, and the next command finds them again."""
    from thv_supervisor.installing import Service

    Service(console.environment, console.message).uninstall()
