"""The interpreter of a package is known by its file, and says itself what it needs to see."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thv_packages.pypi import interpreter_facts
from thv_packages.pypi.interpreter import default_python, identity, inspect


def test_the_default_is_a_base_interpreter_and_never_an_environment():
    program = "import sys; sys.exit(sys.prefix != sys.base_prefix)"

    assert subprocess.run([default_python(), "-c", program], check=False, timeout=30).returncode == 0


def test_the_identity_changes_with_the_file_behind_a_link(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name * 2)
    link = tmp_path / "python"
    link.symlink_to("one")
    first = identity(str(link))
    assert identity(str(link)) == first == identity(str(tmp_path / "one"))

    link.unlink()
    link.symlink_to("two")
    assert identity(str(link)) != first

    (tmp_path / "one").write_text("upgraded in place")
    assert identity(str(tmp_path / "one")) != first


def test_facts_name_the_real_file_behind_links(tmp_path: Path):
    link = tmp_path / "python"
    link.symlink_to(default_python())

    facts = inspect(str(link), {})

    assert facts.executable == os.path.realpath(default_python())
    assert facts.packages == f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    assert facts.version == sys.version.split()[0].rstrip("+")


def test_an_environment_is_traced_to_its_base(tmp_path: Path):
    subprocess.run([default_python(), "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60)

    assert inspect(str(tmp_path / "venv" / "bin" / "python"), {}).executable == os.path.realpath(default_python())


def test_a_system_python_needs_nothing_outside_of_usr():
    python = shutil.which("python3", path="/usr/bin")
    assert python, "these tests need a system Python"

    assert inspect(python, {}).view == ()


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("/home/me/.pyenv/versions/3.12.1", True),
        ("/home/me/.local/share/uv/python/cpython-3.12", True),
        ("/opt/python3.12", True),
        ("/opt", False),
        ("/home/me/.local", False),
        ("/home/me", False),
        ("/home", False),
        ("/", False),
    ],
)
def test_a_home_is_never_shown_whole(prefix: str, expected: bool, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")

    assert interpreter_facts.own(prefix) is expected


def test_a_python_in_a_home_shows_its_parts_only(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "base_prefix", "/home/me/.local")
    monkeypatch.setattr(sys, "base_exec_prefix", "/home/me/.local")
    monkeypatch.setattr(interpreter_facts.sysconfig, "get_path", lambda name: "/home/me/.local/lib/python3.12")
    monkeypatch.setattr(interpreter_facts, "libraries", lambda: iter(["/home/me/.local/lib", "/usr/lib"]))

    assert interpreter_facts.view("/home/me/.local/bin/python3.12") == ["/home/me/.local/bin", "/home/me/.local/lib"]
