"""How debug messages look: lines for people, or lines of JSON."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TextIO

__all__ = ["JsonFormatter", "show_everything"]


class JsonFormatter(logging.Formatter):
    """Write a message as one line of JSON: ``time``, ``level``, ``logger`` and ``msg``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        instant = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": instant, "level": record.levelname, "logger": record.name, "msg": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def show_everything(stream: TextIO, *, structured: bool) -> None:
    """Write every message of the program to a stream from now on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if structured else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler], force=True)
