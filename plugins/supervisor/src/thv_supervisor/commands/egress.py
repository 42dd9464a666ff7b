"""``thv egress``: what servers reached, and what they were denied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from thv_supervisor.commands.completing import workload_names
from thv_supervisor.commands.counting import brief, moment
from thv_supervisor.wire import EGRESS

if TYPE_CHECKING:
    from thv_core.spi.console import Console

__all__ = ["egress"]

SUMMING = 180.0
"""Seconds that a report may take."""

COLUMNS = ("TIME", "TO", "VERDICT", "RULE", "BYTES OUT/IN", "DURING")
WIDTHS = (8, 44, 7, 46, 12, 0)
"""The least widths of the columns while a log is followed, when nobody knows what is to come."""

MOST_CALLS = 2
SHOWN_SESSION = 8

format_option = click.option("--format", "form", default="text", type=click.Choice(["text", "json"]), show_default=True)


@click.group(short_help="See what servers reach.")
def egress() -> None:
    """See what servers reached, what they were denied, and which calls it was for."""


@egress.command(short_help="Show each connection, and each that was denied.")
@click.argument("name", required=False, default="", shell_complete=workload_names)
@click.option("--denied", is_flag=True, help="Only what was denied.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is added.")
@click.option("--tail", default=None, type=click.IntRange(0), metavar="LINES", help="Only the last records.")
@format_option
@click.pass_obj
def log(console: Console, /, **flags: Any) -> None:
    """Show what one workload, or all of them, tried to reach: when, by which rule, and during which tool call."""
    from thv_supervisor.client import ControlClient

    records = ControlClient(console.environment, console.message).documents(f"{EGRESS}?{_query(flags)}")
    named = not flags["name"]
    show = _FOLLOWED[flags["form"]] if flags["follow"] else _SHOWN[flags["form"]]
    show(console, records, named)


@egress.command(short_help="Sum up what was reached.")
@click.option(
    "--by", default="workload", type=click.Choice(["workload", "group", "host"]), show_default=True, help="For each of."
)
@format_option
@click.pass_obj
def report(console: Console, by: str, form: str) -> None:
    """Sum up connections, refusals and bytes of everything that is in the log."""
    from thv_supervisor.client import ControlClient

    client = ControlClient(console.environment, console.message)
    found = client.call("GET", f"{EGRESS}/report?by={by}", limit=SUMMING)["sums"]
    if form == "json":
        console.document(found)
    elif found:
        columns = (by.upper(), "CONNECTIONS", "DENIED", "FAILED", "BYTES OUT", "BYTES IN", "LAST")
        console.table(columns, [_sum_row(each) for each in found])
    else:
        console.message("Nothing was reached, and nothing was denied")


def _query(flags: dict[str, Any]) -> str:
    given = {"workload": flags["name"], "tail": flags["tail"]}
    switches = {name: "true" for name in ("denied", "follow") if flags[name]}
    return urlencode({name: value for name, value in given.items() if value not in ("", None)} | switches)


def _table(console: Console, records: Iterable[dict[str, Any]], named: bool) -> None:
    rows = [_row(record, named) for record in records]
    if rows:
        console.table(_columns(named), rows)
    else:
        console.message("Nothing was reached, and nothing was denied")


def _document(console: Console, records: Iterable[dict[str, Any]], named: bool) -> None:
    console.document(list(records))


def _lines(console: Console, records: Iterable[dict[str, Any]], named: bool) -> None:
    console.line(_aligned(_columns(named), named))
    for record in records:
        console.line(_aligned(_row(record, named), named))


def _documents(console: Console, records: Iterable[dict[str, Any]], named: bool) -> None:
    for record in records:
        console.line(json.dumps(record))


def _columns(named: bool) -> tuple[str, ...]:
    return ("TIME", "NAME", *COLUMNS[1:]) if named else COLUMNS


def _aligned(row: Sequence[str], named: bool) -> str:
    widths = (WIDTHS[0], 16, *WIDTHS[1:]) if named else WIDTHS
    cells = (f"{_on_one_line(text):<{width}}" for text, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()


def _on_one_line(text: str) -> str:
    """Return a text that cannot pass for another record: a client or a server chose parts of it."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _row(record: dict[str, Any], named: bool) -> list[str]:
    allowed = record["verdict"] == "allowed"
    row = [
        moment(record["at"]),
        _target(record),
        record["verdict"],
        record["rule"] if allowed else record["reason"],
        f"{brief(record['sent'])}/{brief(record['received'])}",
        _during(record["calls"]),
    ]
    return [row[0], record["workload"], *row[1:]] if named else row


def _target(record: dict[str, Any]) -> str:
    if record["way"] == "dns":
        times = f", {record['times']} times" if record["times"] > 1 else ""
        return f"{record['host']} (look-up{times})"
    host = f"[{record['host']}]" if ":" in record["host"] else record["host"]
    target = f"{host}:{record['port']}"
    if record["via"]:
        return f"{target} (via {record['via']})"
    known = record["address"] not in ("", record["host"])
    return f"{target} ({record['address']})" if known else target


def _during(calls: Sequence[dict[str, Any]]) -> str:
    more = len(calls) - MOST_CALLS
    return "; ".join([*map(_call, calls[:MOST_CALLS]), *([f"{more} more"] if more > 0 else [])]) or "-"


def _call(call: dict[str, Any]) -> str:
    session = call["session"][:SHOWN_SESSION]
    parts = [f"{call['method']} {call['name']}".rstrip()]
    parts += [f"session {session}"] if session else []
    return ", ".join([*parts, *([f"user {call['user']}"] if call["user"] else [])])


def _sum_row(each: dict[str, Any]) -> list[str]:
    counts = [str(each[name]) for name in ("connections", "denied", "failed")]
    return [each["key"] or "(removed)", *counts, brief(each["sent"]), brief(each["received"]), moment(each["last_at"])]


_Show = Callable[["Console", Iterable[dict[str, Any]], bool], None]
_SHOWN: dict[str, _Show] = {"text": _table, "json": _document}
_FOLLOWED: dict[str, _Show] = {"text": _lines, "json": _documents}
