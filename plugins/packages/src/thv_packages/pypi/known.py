"""Well-known MCP servers on PyPI, to tell a misspelt name from an unknown one without asking anybody."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["WELL_KNOWN", "meant"]

WELL_KNOWN = (
    "arxiv-mcp-server",
    "awslabs-aws-documentation-mcp-server",
    "basic-memory",
    "blender-mcp",
    "chroma-mcp",
    "dbt-mcp",
    "duckduckgo-mcp-server",
    "elevenlabs-mcp",
    "excel-mcp-server",
    "jupyter-mcp-server",
    "markitdown-mcp",
    "mcp-atlassian",
    "mcp-clickhouse",
    "mcp-neo4j-cypher",
    "mcp-obsidian",
    "mcp-proxy",
    "mcp-server-docker",
    "mcp-server-fetch",
    "mcp-server-git",
    "mcp-server-motherduck",
    "mcp-server-qdrant",
    "mcp-server-sqlite",
    "mcp-server-time",
    "office-word-mcp-server",
    "postgres-mcp",
    "redis-mcp-server",
    "serena-agent",
    "workspace-mcp",
)

_ALIKE = 0.85
"""High, because most of these names share a long prefix or suffix: ``mcp-server-foo`` means none of them."""


def meant(name: str, prepared: Iterable[str]) -> str:
    """Return the well-known or already prepared package that ``name`` was probably meant to be, or an empty string."""
    known = sorted({*WELL_KNOWN, *prepared} - {name})
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)), "")
