"""Say which package is in an image that ToolHive built from one. Pure.

ToolHive names it ``toolhivelocal/SCHEME-NAME:TIME``, and writes a dash for each ``/``, ``@`` and ``.`` of the package.
"""

from __future__ import annotations

import re

__all__ = ["package_image"]

_BUILT = re.compile(r"(?:localhost/)?toolhivelocal/(?P<scheme>uvx|npx)-(?P<name>[a-z0-9._-]+?)(?::\d+)?\Z")
_VERSION = re.compile(r"-(\d+(?:-\d+)+)\Z")
_NUMBER = re.compile(r"-\d+\Z")
_SCOPE = re.compile(r"-*modelcontextprotocol-(?P<bare>.+)\Z")


def package_image(image: str) -> tuple[str, str]:
    """Return the reference of the package in an image, and a note when it may be another; both empty if it is none."""
    match = _BUILT.match(image)
    if match is None:
        return "", ""
    name = _versioned(match["name"])
    if match["scheme"] == "uvx":
        # On PyPI dots and dashes are one, so that only a version can be mistaken.
        return _noted(f"uvx://{name}", image, doubtful="@" in name or bool(_NUMBER.search(name)))
    scoped = _SCOPE.match(name)
    reference = f"npx://@modelcontextprotocol/{scoped['bare']}" if scoped else f"npx://{name.lstrip('-')}"
    return _noted(reference, image, doubtful="-" in name)


def _versioned(name: str) -> str:
    return _VERSION.sub(lambda match: f"@{match[1].replace('-', '.')}", name)


def _noted(reference: str, image: str, *, doubtful: bool) -> tuple[str, str]:
    note = f"image: {image} was built from {reference}, as far as its name tells; correct it if it was another package"
    return reference, note if doubtful else ""
