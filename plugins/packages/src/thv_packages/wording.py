"""Words that the builders share: what was prepared, and what a text may show of an index."""

from __future__ import annotations

import re

from thv_core.spi import PackageRoot, Progress

__all__ = ["counted", "evidence", "prepared", "redacted"]

_MOST_LINES = 8
_LONGEST_LINE = 400
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]{1,2000}@")


def counted(packages: int) -> str:
    """Say how many packages there are."""
    return f"{packages} package{'' if packages == 1 else 's'}"


def prepared(root: PackageRoot, seconds: float, *, found: bool) -> Progress:
    """Say what is prepared now, and whether it was before."""
    text = f"{counted(root.packages)}, {max(1, round(root.size / 1_000_000))} MB{', already here' if found else ''}"
    return Progress(step="prepared", text=text, seconds=seconds)


def redacted(text: str, secret: str = "") -> str:
    """Return a text without the credentials in its URLs, and without a secret."""
    return _CREDENTIALS.sub("***@", text.replace(secret, "***") if secret else text)


def evidence(text: str) -> list[str]:
    """Return the last lines of what a program wrote, shortened."""
    lines = (line.strip()[:_LONGEST_LINE] for line in text.splitlines())
    return [line for line in lines if line][-_MOST_LINES:]
