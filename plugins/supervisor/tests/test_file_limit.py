"""The limit of open files of our own processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from thv_supervisor.file_limit import raise_file_limit
raise_file_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [((256, 1024), (1024, 1024)), ((512, 512), (512, 512)), ((256, 1_000_000), (65_536, 1_000_000))],
)
def test_the_soft_limit_is_raised_within_reason(before: tuple[int, int], after: tuple[int, int]) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and before[1] > hard:
        before, after = (256, hard), (min(hard, 65_536), hard)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, before)], capture_output=True, text=True, check=True, timeout=30
    )
    assert tuple(map(int, done.stdout.split())) == after
