"""Pieces of content that several tools, prompts and resources have."""

from __future__ import annotations

import mcp_types as types

# One red pixel, and a sound of no samples.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
SOUND = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="


def words(text: str) -> types.TextContent:
    """Return a text."""
    return types.TextContent(type="text", text=text)


def picture() -> types.ImageContent:
    """Return an image."""
    return types.ImageContent(type="image", data=PICTURE, mime_type="image/png")


def sound() -> types.AudioContent:
    """Return a recording."""
    return types.AudioContent(type="audio", data=SOUND, mime_type="audio/wav")


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    """Return a resource inside a content."""
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(type="resource", resource=resource)
