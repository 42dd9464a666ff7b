"""Builds that are killed, run at the same time, or belong to an ordinary user end with one whole root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from thv_core.errors import TimedOut
from thv_core.spi import Surroundings
from thv_packages import shelf as shelf_module
from thv_packages.shelf import Shelf

NOBODY = 65534
HOLDER = """
import sys
from pathlib import Path
from thv_packages.process import Program
from thv_packages.shelf import Shelf
with Shelf(Path(sys.argv[1]), "x").held("0" * 32) as descriptor:
    Program(("/bin/sh", "-c", f"echo $$ > {sys.argv[1]}/pid; exec sleep 60"), "/", 60, keep=(descriptor,)).run()
"""


def lines_until(process: subprocess.Popen[str], word: str) -> list[str]:
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line.strip())
        if seen[-1] == word:
            return seen
    raise AssertionError(f"{word} was never reached: {seen} {process.stderr and process.stderr.read()}")


@pytest.mark.parametrize("step", ["downloading", "compiling"])
def test_a_build_that_was_killed_half_way_is_made_again(step, index, builder, building, spec, surroundings, workshop):
    index.wheel("server", scripts=["server"])
    killed = building("server", halt=step)
    lines_until(killed, step)
    (half,) = (path for path in (surroundings.cache / "roots").iterdir() if path.is_dir())
    assert (half / "tree").exists()
    (half / "tree" / "bin" / "left-behind").touch()
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)

    root = builder.build(spec("server"), lambda progress: None, workshop)

    assert root.path == str(half)
    assert not (half / "tree" / "bin" / "left-behind").exists()
    assert (
        subprocess.run(root.command, capture_output=True, timeout=30, check=True).stdout == b"hello from server 1.0\n"
    )


def test_two_builds_at_the_same_time_make_one_root_once(index, building, surroundings):
    index.wheel("server", scripts=["server"], requires=["library"])
    index.wheel("library", files={f"library/module{number}.py": "x = 1\n" for number in range(200)})

    outputs = [process.communicate(timeout=120) for process in [building("server"), building("server")]]

    results = [output.split() for output, _ in outputs]
    assert all(result[-2] == "prepared" for result in results), outputs
    assert results[0][-1] == results[1][-1]
    assert sum("downloading" in result for result in results) == 1
    assert len([path for path in (surroundings.cache / "roots").iterdir() if path.is_dir()]) == 1


def test_a_program_that_outlives_its_killed_builder_still_holds_the_root(tmp_path: Path):
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], env=environment)
    end = time.monotonic() + 30
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.01)
    holder.kill()
    holder.wait(30)
    survivor = int((tmp_path / "pid").read_text())
    try:
        with (tmp_path / "roots" / f"{'0' * 32}.lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(survivor, signal.SIGKILL)
    with Shelf(tmp_path, "x").held("0" * 32) as descriptor:
        assert descriptor > 2


def test_nobody_waits_for_ever_for_a_root(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shelf_module, "_WAIT_SECONDS", 0.2)
    shelf = Shelf(tmp_path, "x")

    with shelf.held("0" * 32), pytest.raises(TimedOut), shelf.held("0" * 32):
        pass


@pytest.fixture
def public_surroundings(index) -> Iterator[Surroundings]:
    """Give folders that an ordinary user may reach and own; ``tmp_path`` belongs to the user of the tests."""
    with tempfile.TemporaryDirectory(prefix="thv-packages-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("state", "cache"):
            (folder / each).mkdir(mode=0o700)
            os.chown(folder / each, *((NOBODY, NOBODY) if os.geteuid() == 0 else (-1, -1)))
        yield Surroundings(folder / "state", folder / "cache", {"UV_DEFAULT_INDEX": index.url, "HOME": name})


def ordinary_python() -> tuple[str, dict[str, object]]:
    """Return a Python that an ordinary user may start and that imports thv, and how to become that user."""
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    argv = ("-c", "import thv_packages.pypi.builder")
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            tried = subprocess.run([python, *argv], env=environment, capture_output=True, timeout=30, **options)
            if tried.returncode == 0:
                return python, options
    reason = "the Python of these tests lies where no ordinary user may read it"
    return pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


def test_an_ordinary_user_prepares_a_package(index, public_surroundings, workshop):
    index.wheel("server", scripts=["server"])
    python, options = ordinary_python()
    environment = {**public_surroundings.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = """
import os, subprocess, sys
from pathlib import Path
from thv_core.spi import PackageSpec, Surroundings
from thv_packages.pypi.builder import UvxBuilder
from thv_testkit.fakes import UnisolatedWorkshop
builder = UvxBuilder.from_settings({}, Surroundings(Path(sys.argv[1]), Path(sys.argv[2]), dict(os.environ)))
package = PackageSpec(scheme="uvx", name="server", version="1.0")
root = builder.build(package, lambda progress: None, UnisolatedWorkshop())
assert os.geteuid() != 0
sys.stdout.write(subprocess.check_output(root.command, text=True, env=root.environment))
"""
    argv = [python, "-c", program, str(public_surroundings.state), str(public_surroundings.cache)]

    result = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False, **options)

    assert result.stdout == "hello from server 1.0\n", result.stderr
