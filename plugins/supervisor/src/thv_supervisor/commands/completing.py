"""Complete names in a shell, read from the state without starting anything; whatever fails completes nothing."""

from __future__ import annotations

import os
import sys
from contextlib import closing

import click

__all__ = [
    "group_names",
    "label_words",
    "log_names",
    "profile_names",
    "running_names",
    "runtime_names",
    "transport_names",
    "workload_names",
]

_LABELS = """
    select distinct each.key || '=' || each.value
    from workloads, json_each(cast(config as text), '$.container_labels') as each order by 1
"""


def profile_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of thv's own profiles that start with ``incomplete``."""
    from thv_core.model.profile import BUILTIN_PROFILES

    return [name for name in sorted(BUILTIN_PROFILES) if name.startswith(incomplete)]


def transport_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the transports that are offered and start with ``incomplete``."""
    return [name for name in ("sse", "stdio", "streamable-http") if name.startswith(incomplete)]


def workload_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of workloads that start with ``incomplete``."""
    return _of_state("select name from workloads order by name", incomplete)


def running_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of workloads that should run and start with ``incomplete``."""
    return _of_state("select name from workloads where desired = 'running' order by name", incomplete)


def log_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return what ``thv logs`` may be followed by: the names of workloads, and ``prune``."""
    names = {*workload_names(context, parameter, incomplete), "prune"}
    return [name for name in sorted(names) if name.startswith(incomplete)]


def group_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of groups that start with ``incomplete``; the default group is always there."""
    names = {*_of_state("select name from groups", incomplete), "default"}
    return [name for name in sorted(names) if name.startswith(incomplete)]


def label_words(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the labels ``KEY=VALUE`` of workloads that start with ``incomplete``."""
    return _of_state(_LABELS, incomplete)


def runtime_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of installed runtimes that start with ``incomplete``."""
    from thv_core.loading.catalog import scan

    return [plugin.name for plugin in scan().ready("runtime") if plugin.name.startswith(incomplete)]


def _of_state(query: str, incomplete: str) -> list[str]:
    import sqlite3  # every command can be completed, and few runs of one complete anything

    from thv_core.errors import ThvError
    from thv_core.state.paths import Paths

    try:
        database = Paths.from_environment(os.environ, sys.platform).database
        # To read beside a writer, SQLite makes files of its own; without a writer there is nothing to be beside of.
        alone = "" if database.with_name(f"{database.name}-wal").exists() else "&immutable=1"
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro{alone}", uri=True)) as connection:
            names = [str(row[0]) for row in connection.execute(query)]
    except (ThvError, sqlite3.Error):
        return []
    return [name for name in names if name.startswith(incomplete)]
