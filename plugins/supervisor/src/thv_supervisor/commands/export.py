"""``thv export``: write the configuration of a workload, or of all of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.wire import GROUPS, workload_path

if TYPE_CHECKING:
    from thv_core.spi.console import Console
    from thv_supervisor.client import ControlClient

__all__ = ["export"]

STANDARD_OUTPUT = "-"
COMMENT = "Written by thv export --all. Run it with: thv apply -f FILE"


@click.command(short_help="Write the configuration of a workload to a file.")
@click.argument("name", required=False, default="", shell_complete=workload_names)
@click.argument("path", required=False, default="")
@click.option("-a", "--all", "everything", is_flag=True, help="All workloads and groups, as a manifest for thv apply.")
@click.option(
    "--format", "form", type=click.Choice(["json", "yaml"]), help="How to write it; json, and with --all yaml."
)
@click.pass_obj
def export(console: Console, name: str, path: str, everything: bool, form: str | None) -> None:
    """Write the RunConfig of the workload NAME to the file PATH, or to standard output; thv run --from-config reads it.

    With --all, the only argument is PATH. Secrets are written by name, never with their values.
    """
    from thv_supervisor.client import ControlClient

    if (everything and path) or not (everything or name):
        raise click.UsageError("give the name of a workload and a path, or --all and a path")
    client = ControlClient(console.environment, console.message)
    if everything:
        content, count = _all(client, form or "yaml")
        _put(console, content, name, f"Successfully exported {count} workload{'' if count == 1 else 's'} to")
    else:
        content = _one(client, name, form or "json")
        _put(console, content, path, f"Successfully exported run configuration for '{name}' to")


def _one(client: ControlClient, name: str, form: str) -> bytes:
    from thv_supervisor.exporting import as_yaml

    content = b"".join(client.chunks(workload_path(name, "export")))
    return content if form == "json" else as_yaml(json.loads(content), COMMENT.replace("--all", name))


def _all(client: ControlClient, form: str) -> tuple[bytes, int]:
    from thv_supervisor.applying import present_configs
    from thv_supervisor.exporting import as_yaml, manifest_document

    configs, _ = present_configs(client)
    groups = [group["name"] for group in client.call("GET", GROUPS)["groups"]]
    document = manifest_document(configs.values(), groups)
    content = as_yaml(document, COMMENT) if form == "yaml" else json.dumps(document, indent=2).encode()
    return content, len(configs)


def _put(console: Console, content: bytes, path: str, done: str) -> None:
    if path in ("", STANDARD_OUTPUT):
        console.line(content.decode().rstrip("\n"))
        return
    from thv_supervisor.exporting import save
    from thv_supervisor.profiles import here

    save(content, here(console.directory, path), path)
    console.message(f"{done} '{path}'")
