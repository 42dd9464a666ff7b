"""Complete the names of workloads in a shell; whatever fails completes nothing."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing

import click

__all__ = ["workload_names"]


def workload_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of workloads that start with ``incomplete``, read from the state, without starting anything."""
    from thv_core.errors import ThvError
    from thv_core.state.paths import Paths

    try:
        database = Paths.from_environment(os.environ, sys.platform).database
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            names = [str(row[0]) for row in connection.execute("select name from workloads order by name")]
    except (ThvError, sqlite3.Error):
        return []
    return [name for name in names if name.startswith(incomplete)]
