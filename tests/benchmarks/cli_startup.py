"""How long a command of thv takes, as medians and as multiples of ``python -c "import click"``.

Run it with the Python of the environment in which thv is installed:  python tests/benchmarks/cli_startup.py [RUNS]
The rounds are interleaved, so that a busy machine slows all rows alike. The exit code is 1 if ``--help`` misses its
budget.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

RUNS = 21
HELP_BUDGET = 3.0
BASELINE = 'python -c "import click"'

THV = str(Path(sysconfig.get_path("scripts"), "thv"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    BASELINE: [sys.executable, "-c", "import click"],
    "thv --help": [THV, "--help"],
    "thv version": [THV, "version"],
    "thv plugins list": [THV, "plugins", "list"],
}


def seconds(command: list[str], home: str) -> float:
    """Run a command once and return how long it took."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, env={"THV_HOME": home}, check=True)
    return time.perf_counter() - began


def main() -> int:
    """Measure every command, print the table, and say whether the budget holds."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(runs + 1):
            for name, command in COMMANDS.items():
                taken[name].append(seconds(command, home))
    # The first round wrote byte code and filled the caches of the system.
    medians = {name: statistics.median(each[1:]) for name, each in taken.items()}
    print(f"{'COMMAND':<26}{'MEDIAN':>10}{'RATIO':>8}")
    for name, median in medians.items():
        print(f"{name:<26}{median * 1000:>7.1f} ms{median / medians[BASELINE]:>8.2f}")
    return 0 if medians["thv --help"] <= HELP_BUDGET * medians[BASELINE] else 1


if __name__ == "__main__":
    sys.exit(main())
