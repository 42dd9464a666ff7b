"""Keep the log of thv's own processes small while they run.

Its writers hold it open in append mode: it is copied and cut, not renamed, so that none of them has to open it again.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

__all__ = ["keep_small", "rotate"]

LONGEST = 1 << 20
INTERVAL = 30.0

log = logging.getLogger(__name__)


async def keep_small(path: Path) -> None:
    """Rotate a log whenever it is too long, for ever."""
    while True:
        try:
            await asyncio.to_thread(rotate, path)
        except OSError as error:
            log.warning("the log %s could not be rotated: %s", path, error.strerror)
        await asyncio.sleep(INTERVAL)


def rotate(path: Path) -> bool:
    """Move what a log holds to ``.1`` beside it if it is too long; tell whether it was."""
    if not path.exists() or path.stat().st_size <= LONGEST:
        return False
    former = path.with_name(f"{path.name}.1")
    former.unlink(missing_ok=True)
    former.touch(0o600)
    with path.open("rb") as current, former.open("wb") as copy:
        # What is older than the last piece is not kept: a burst must not fill the disk twice.
        current.seek(max(path.stat().st_size - LONGEST, 0))
        shutil.copyfileobj(current, copy)
    with path.open("rb+") as current:
        current.truncate(0)
    return True
