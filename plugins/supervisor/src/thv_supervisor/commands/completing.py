"""Complete the names of workloads, profiles and transports in a shell; whatever fails completes nothing."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing

import click

__all__ = ["profile_names", "transport_names", "workload_names"]


def profile_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of thv's own profiles that start with ``incomplete``."""
    from thv_core.model.profile import BUILTIN_PROFILES

    return [name for name in sorted(BUILTIN_PROFILES) if name.startswith(incomplete)]


def transport_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the transports that are offered and start with ``incomplete``."""
    return [name for name in ("stdio", "streamable-http") if name.startswith(incomplete)]


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
