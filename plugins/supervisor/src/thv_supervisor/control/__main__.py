"""Start control: ``python -m thv_supervisor.control LIFELINE [HANDOVER]``, two descriptors of its parent."""

import sys

from thv_supervisor.control.process import main

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
