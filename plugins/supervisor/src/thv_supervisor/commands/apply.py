"""``thv apply`` and ``thv diff``: bring what runs to what a manifest says, or show what that would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from thv_core.spi.console import Console
    from thv_supervisor.applying import Applying, Outcome, Plan, Task
    from thv_supervisor.client import ControlClient

__all__ = ["apply", "diff"]

SIGNS = {"new": "+", "changed": "~", "unchanged": "=", "removed": "-"}
RESUMES = "stopped, starts again"

files_option = click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    metavar="FILE|DIR",
    type=click.Path(),
    help="A manifest, or a folder of them.",
)
prune_option = click.option("--prune", is_flag=True, help="Remove what is in the manifest's groups and not in it.")
format_option = click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)


@click.command(short_help="Run what a manifest says.")
@files_option
@prune_option
@click.option("--dry-run", is_flag=True, help="Only show what would change, as thv diff does.")
@format_option
@click.pass_obj
def apply(console: Console, files: tuple[str, ...], prune: bool, dry_run: bool, form: str) -> None:
    """Run what a manifest says: new workloads are started, changed ones swapped without a failed call.

    Applying twice changes nothing. One that does not become ready is rolled back, and the others go on.
    """
    client, intended = _planned(console, files, prune)
    if dry_run:
        _show(console, intended, form)
        return
    from thv_supervisor.applying import Applying

    applying = Applying(client, console.environment, console.going_on)
    try:
        for group in applying.make_groups(intended):
            if form == "text":
                console.step(f"group {group}", "made")
        for outcome in applying.apply(intended):
            if form == "text":
                _tell(console, outcome)
    except KeyboardInterrupt:
        _interrupted(console, applying, intended)
        raise
    if form == "json":
        console.document({"groups": intended.groups, "workloads": [_outcome_facts(each) for each in applying.outcomes]})
    _fail_if_any(applying)


@click.command(short_help="Show what applying a manifest would change.")
@files_option
@prune_option
@click.option("--exit-code", is_flag=True, help="End with 1 when something would change.")
@format_option
@click.pass_context
def diff(context: click.Context, files: tuple[str, ...], prune: bool, exit_code: bool, form: str) -> None:
    """Show what thv apply would change; nothing is changed.

    Ends with 0 whether something would change or not; with --exit-code it ends with 1 when something would.
    """
    console: Console = context.obj
    _, intended = _planned(console, files, prune)
    _show(console, intended, form)
    if exit_code and intended.acts:
        context.exit(1)


def _planned(console: Console, files: tuple[str, ...], prune: bool) -> tuple[ControlClient, Plan]:
    from thv_supervisor.applying import plan
    from thv_supervisor.client import ControlClient
    from thv_supervisor.manifest_files import manifest_of

    manifest = manifest_of(files, console.directory)
    client = ControlClient(console.environment, console.message)
    intended = plan(manifest, client, prune)
    if not (intended.groups or intended.tasks):
        console.message("there is nothing to do: no workload is named")
    return client, intended


def _show(console: Console, intended: Plan, form: str) -> None:
    if form == "json":
        console.document({"groups": intended.groups, "workloads": [_task_facts(task) for task in intended.tasks]})
        return
    width = max((10, *(len(task.change.name) for task in intended.tasks)))
    for group in intended.groups:
        console.line(f"  + group {group}")
    for task in intended.tasks:
        first, *others = _lines(task)
        sign = ">" if task.resumes else SIGNS[task.change.kind]
        console.line(f"  {sign} {task.change.name:<{width}} {first}")
        for line in others:
            console.line(f"    {'':<{width}} {line}")


def _lines(task: Task) -> tuple[str, ...]:
    if task.resumes:
        return (RESUMES,)
    return task.change.lines if task.change.kind == "changed" and task.change.lines else (str(task.change.kind),)


def _tell(console: Console, outcome: Outcome) -> None:
    name = outcome.task.change.name
    if outcome.error is None:
        console.step(name, outcome.text, outcome.seconds)
    else:
        console.message(f"  {name:<10} {outcome.text}")


def _task_facts(task: Task) -> dict[str, Any]:
    return {
        "name": task.change.name,
        "kind": str(task.change.kind),
        "lines": list(task.change.lines),
        "starts_again": task.resumes,
    }


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    failed = {} if outcome.error is None else {"error": outcome.error.document()}
    ended = {"ok": outcome.error is None, "result": outcome.text, "seconds": round(outcome.seconds, 3)}
    return {**_task_facts(outcome.task), **ended, **failed}


def _interrupted(console: Console, applying: Applying, intended: Plan) -> None:
    done = [outcome.task.change.name for outcome in applying.outcomes if outcome.error is None and outcome.task.acts]
    console.message(applying.abandon() or "interrupted")
    ended = len(applying.outcomes) + (applying.under_way is not None)
    untouched = [task.change.name for task in intended.tasks[ended:] if task.acts]
    console.message(f"applied: {', '.join(done) or 'nothing'}; not begun: {', '.join(untouched) or 'nothing'}")


def _fail_if_any(applying: Applying) -> None:
    from thv_core.errors import ThvError

    failures = [outcome for outcome in applying.outcomes if outcome.error is not None]
    if failures:
        evidence = [line for outcome in failures for line in _blamed(outcome)]
        hint = "What failed runs as before, or not at all:  thv list --all"
        count = f"{len(failures)} of {len(applying.outcomes)} {'was' if len(failures) == 1 else 'were'}"
        raise ThvError(f"{count} not applied", evidence=evidence, hint=hint)


def _blamed(outcome: Outcome) -> list[str]:
    name = outcome.task.change.name
    return [
        f"{name}: {line}" if not place else f"  {line}" for place, line in enumerate(str(outcome.error).splitlines())
    ]
