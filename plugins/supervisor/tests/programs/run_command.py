"""Run the command ``proxy`` as the command line does, with a console that prints what it is told."""

import os
import pathlib
import sys

from thv_core.errors import ThvError
from thv_supervisor.commands.proxy import proxy


class Console:
    environment = os.environ
    directory = pathlib.Path()

    def line(self, text):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def message(self, text):
        sys.stderr.write(text + "\n")

    def going_on(self, word, text):
        """Show nothing, as elsewhere than on a terminal."""


try:
    proxy(args=sys.argv[1:], obj=Console(), standalone_mode=False)
except ThvError as error:
    sys.exit(f"{error.code}: {error.message}")
