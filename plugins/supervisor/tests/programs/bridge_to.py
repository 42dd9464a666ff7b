"""Bridge standard input and output to the URL that is the first argument."""

import sys

from thv_supervisor.bridge_session import BridgeSession
from thv_supervisor.places import Place
from thv_supervisor.stdio_bridge import Bridge

url = sys.argv[1]
Bridge(BridgeSession(lambda: Place(url)), print).run(sys.stdin.buffer, sys.stdout.buffer)
