"""Which folders of the system a Python package is not to find."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from thv_packages.pypi.hiding import hidden_folders


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def an_npm(tmp_path: Path) -> Path:
    program = tmp_path / "lib" / "npm" / "bin" / "npm-cli.js"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (program.parents[1] / "package.json").write_text("{}")
    return program


def test_a_system_without_npm_has_nothing_to_hide(bin_folder: Path) -> None:
    assert hidden_folders(str(bin_folder)) == ()


def test_the_package_of_npm_is_hidden_once_though_two_programs_lead_there(bin_folder: Path, tmp_path: Path) -> None:
    program = an_npm(tmp_path)
    for name in ("npm", "npx"):
        (bin_folder / name).symlink_to(program)
    assert hidden_folders(str(bin_folder)) == (str(program.parents[1]),)


def test_without_its_package_the_program_is_not_found(bin_folder: Path, tmp_path: Path) -> None:
    (bin_folder / "npm").symlink_to(an_npm(tmp_path))
    (folder,) = hidden_folders(str(bin_folder))
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        subprocess.run(["npm", "version"], env={"PATH": str(bin_folder)}, check=True)


def test_an_npm_that_is_no_link_is_left_alone(bin_folder: Path) -> None:
    (bin_folder / "npm").write_text("#!/bin/sh\n")
    (bin_folder / "npm").chmod(0o755)
    assert hidden_folders(str(bin_folder)) == ()
