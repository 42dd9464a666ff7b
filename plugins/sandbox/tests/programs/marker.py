"""A server that leaves a mark as its first act."""

import signal
from pathlib import Path

Path("/out/began").touch()
signal.pause()
