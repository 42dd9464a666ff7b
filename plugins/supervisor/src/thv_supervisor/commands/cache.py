"""``thv cache``: the packages that are prepared on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from thv_supervisor.commands.counting import amount, moment
from thv_supervisor.wire import CACHE

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["cache"]

PRUNING = 600.0
"""Seconds that the removal of packages may take."""

COLUMNS = ("PACKAGE", "SIZE", "PACKAGES", "LAST USED", "USED BY")


@click.group(short_help="Look at prepared packages, and remove them.")
def cache() -> None:
    """Look at the packages that are prepared on this machine, and remove those that nobody uses."""


@cache.command("list", short_help="List prepared packages.")
@click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)
@click.pass_obj
def list_packages(console: Console, form: str) -> None:
    """List the packages that are prepared, with their sizes and the workloads that use each."""
    from thv_supervisor.client import ControlClient

    found = ControlClient(console.environment, console.message).call("GET", CACHE, limit=PRUNING)
    for problem in found["problems"]:
        console.message(f"not everything could be looked at: {problem}")
    if form == "json":
        console.document([{**each["package"], "workloads": each["workloads"]} for each in found["packages"]])
    elif found["packages"]:
        console.table(COLUMNS, [_row(each) for each in found["packages"]])
    else:
        console.message("No package is prepared")


@cache.command(short_help="Remove packages that no workload uses.")
@click.option("--all", "everything", is_flag=True, help="All that no workload uses; this is the default.")
@click.option(
    "--older-than",
    "days",
    default=None,
    type=click.FloatRange(0, 100_000),
    metavar="DAYS",
    help="Not used for so long.",
)
@click.pass_obj
def prune(console: Console, everything: bool, days: float | None) -> None:
    """Remove prepared packages that no workload uses, and say what that freed.

    A package that is needed again is prepared again.
    """
    from thv_core.errors import ThvError
    from thv_supervisor.client import ControlClient

    if everything and days is not None:
        raise click.UsageError("give --all, or --older-than")
    query = f"?older_than={days:g}" if days is not None else ""
    done = ControlClient(console.environment, console.message).call("DELETE", f"{CACHE}{query}", limit=PRUNING)
    for package in done["removed"]:
        console.message(f"removed {package['reference']}, {amount(package['size'])}")
    console.message(f"{amount(done['freed'])} freed" if done["removed"] else "Nothing to remove")
    if done["problems"]:
        raise ThvError("not every package could be removed", evidence=done["problems"])


def _row(cached: dict[str, Any]) -> list[str]:
    package = cached["package"]
    used = moment(package["used_at"]) if package["used_at"] else "-"
    users = ", ".join(cached["workloads"]) or "-"
    return [package["reference"], amount(package["size"]), str(package["packages"] or "-"), used, users]
