"""A server that says that it lives and then waits for its end."""

import signal
import sys

sys.stderr.write("alive\n")
signal.pause()
