"""The names under which the program is installed."""

from __future__ import annotations

__all__ = ["COMPLETION_VARIABLES"]

COMPLETION_VARIABLES = {"thv": "_THV_COMPLETE", "toolhive": "_TOOLHIVE_COMPLETE"}
"""The environment variable by which a shell asks each program for completions, as click names it."""
