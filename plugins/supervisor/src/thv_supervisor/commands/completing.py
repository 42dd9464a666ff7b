"""Complete the names of workloads in a shell; whatever fails completes nothing."""

from __future__ import annotations

import os
import sqlite3
import sys

import click

__all__ = ["workload_names"]


def workload_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of workloads that start with ``incomplete``, read from the state, without starting anything."""
    from thv_core.state.paths import Paths

    database = Paths.from_environment(os.environ, sys.platform).database
    if not database.exists():
        return []
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            names = [str(row[0]) for row in connection.execute("select name from workloads order by name")]
    except sqlite3.Error:
        return []
    return [name for name in names if name.startswith(incomplete)]
