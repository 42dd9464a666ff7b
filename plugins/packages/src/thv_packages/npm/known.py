"""Well-known MCP servers on npm, to tell a misspelt name from an unknown one without asking anybody."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["WELL_KNOWN", "meant"]

WELL_KNOWN = (
    "@azure/mcp",
    "@browsermcp/mcp",
    "@eslint/mcp",
    "@modelcontextprotocol/server-everything",
    "@modelcontextprotocol/server-filesystem",
    "@modelcontextprotocol/server-memory",
    "@modelcontextprotocol/server-sequential-thinking",
    "@notionhq/notion-mcp-server",
    "@playwright/mcp",
    "@sentry/mcp-server",
    "@supabase/mcp-server-supabase",
    "@upstash/context7-mcp",
    "chrome-devtools-mcp",
    "firecrawl-mcp",
    "mcp-remote",
    "tavily-mcp",
)

_ALIKE = 0.85
"""High, because many of these names share a long prefix."""


def meant(name: str, prepared: Iterable[str]) -> str:
    """Return the well-known or already prepared package that ``name`` was probably meant to be, or an empty string.

    A name without its scope is taken for the one with it.
    """
    known = sorted({*WELL_KNOWN, *prepared} - {name})
    scoped = [each for each in known if each.rpartition("/")[2] == name]
    return next(iter([*scoped, *difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)]), "")
