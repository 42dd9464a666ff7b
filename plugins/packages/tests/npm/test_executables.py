"""The executable of a package is the one named like it, or its only one, and always its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from thv_core.errors import PreparationFailed
from thv_packages.npm.executables import command
from thv_packages.npm.package_name import NpmPackage

PACKAGE = NpmPackage("@a/server", "1.0.0")
Installed = Callable[[object, Mapping[str, str]], Path]


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """Make a tree with a package as npm installs it."""

    def install(executables: object, files: Mapping[str, str]) -> Path:
        folder = tmp_path / "tree" / "node_modules" / PACKAGE.name
        folder.mkdir(parents=True)
        manifest = {"bin": executables} if executables is not None else {}
        for name, text in {**files, "package.json": json.dumps(manifest)}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        return tmp_path / "tree"

    return install


@pytest.mark.parametrize(
    ("executables", "files", "expected"),
    [
        ({"server": "a.js", "other": "b.js"}, {"a.js": "console.log('a')", "b.js": ""}, "a\n"),
        ({"other": "./b.js"}, {"b.js": "console.log('b')"}, "b\n"),
        ({"one": "b.js", "two": "b.js"}, {"b.js": "console.log('b')"}, "b\n"),
        (
            "c.mjs",
            {"c.mjs": "#!/usr/bin/env -S node --no-warnings\nconsole.log(process.execArgv.join())"},
            "--no-warnings\n",
        ),
        ("run", {"run": "#!/bin/sh\necho from a shell\n"}, "from a shell\n"),
        ("run", {"run": "#!/usr/bin/env node\nconsole.log('plain')"}, "plain\n"),
    ],
)
def test_the_executable_is_the_one_named_like_the_package_or_the_only_one(
    executables, files, expected, installed, node
):
    argv = command(installed(executables, files), PACKAGE, node)

    result = subprocess.run(argv, env={"PATH": os.defpath}, capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == expected


def test_several_executables_of_other_names_are_listed(installed, node):
    tree = installed({"one": "index.js", "two": "b.js"}, {"index.js": "", "b.js": ""})

    with pytest.raises(PreparationFailed) as caught:
        command(tree, PACKAGE, node)
    assert caught.value.evidence == ("one, two",)


@pytest.mark.parametrize("executable", ["absent.js", "../../../../../../../../../etc/passwd", "/etc/passwd", "a\0.js"])
def test_an_executable_that_is_not_in_the_package_is_refused(executable, installed, node):
    with pytest.raises(PreparationFailed, match="is not there"):
        command(installed(executable, {}), PACKAGE, node)


@pytest.mark.parametrize("executables", [None, "", {}])
def test_a_package_that_offers_none_is_told(executables, installed, node):
    with pytest.raises(PreparationFailed, match="offers no executable"):
        command(installed(executables, {}), PACKAGE, node)
