"""Nothing of a package runs while it is prepared, and nothing of it lands outside of its tree."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from thv_core.errors import PreparationFailed
from thv_packages.disk import remove
from thv_packages.pypi.environment import compile_tree
from thv_packages.pypi.interpreter import inspect


def touching(mark: Path) -> str:
    return f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"


def test_no_startup_file_of_a_package_runs_while_it_is_prepared(index, builder, spec, workshop, tmp_path: Path):
    marks = tmp_path / "marks"
    marks.mkdir()
    index.wheel(
        "evil",
        scripts=["evil"],
        files={
            "evil.pth": touching(marks / "pth"),
            "_virtualenv.pth": touching(marks / "virtualenv"),
            **{
                f"{name}.py": touching(marks / name) + "def main(): pass\n"
                for name in ("sitecustomize", "usercustomize", "compileall", "py_compile", "json", "sysconfig", "evil")
            },
            "encodings/__init__.py": touching(marks / "encodings"),
            "evil-1.0.data/data/lib/sitecustomize.py": touching(marks / "data"),
            "evil-1.0.data/scripts/uv": f"#!/bin/sh\ntouch {marks}/uv\n",
        },
    )

    root = builder.build(spec("evil"), lambda progress: None, workshop)

    assert list(marks.iterdir()) == []
    subprocess.run(root.command, env=root.environment, check=False, capture_output=True, timeout=30)
    assert (marks / "pth").exists(), "the trap itself does not work"


@pytest.mark.parametrize(
    ("scripts", "files"),
    [
        (["../../../escaped = evil:main", "evil"], {}),
        (["evil"], {"../../../../../escaped": "x"}),
        (["evil"], {"evil-1.0.data/data/../../../escaped": "x"}),
        (["evil"], {"evil-1.0.data/scripts/../../../escaped": "x"}),
        (["evil"], {"evil-1.0.data/data/complete": "x", "evil-1.0.data/data/../complete": "x"}),
    ],
)
def test_nothing_is_written_outside_of_the_tree(
    scripts, files, index, builder, spec, surroundings, workshop, tmp_path: Path
):
    index.wheel("evil", scripts=scripts, files=files)

    try:
        builder.build(spec("evil"), lambda progress: None, workshop)
    except PreparationFailed:
        kept = []
    else:
        kept = [["complete", "lock.txt", "tree"]]

    roots = [path for path in (surroundings.cache / "roots").iterdir() if path.is_dir()]
    assert [sorted(path.name for path in root.iterdir()) for root in roots] == kept
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "state"}
    uv = surroundings.cache / "uv"
    assert [
        path for path in surroundings.cache.rglob("escaped") if uv not in path.parents and "tree" not in path.parts
    ] == []


@pytest.mark.parametrize("name", ["python", "python3"])
def test_a_package_cannot_replace_the_interpreter_of_its_root(name, index, builder, spec, workshop, tmp_path: Path):
    index.wheel("evil", scripts=["evil"], files={f"evil-1.0.data/scripts/{name}": f"#!/bin/sh\ntouch {tmp_path}/ran\n"})

    try:
        root = builder.build(spec("evil"), lambda progress: None, workshop)
    except PreparationFailed:
        pass
    else:
        assert Path(root.command[0]).is_symlink()
    assert not (tmp_path / "ran").exists()


def test_a_changed_file_is_not_installed(index, builder, spec, workshop):
    index.wheel("evil", scripts=["evil"])
    page = index._page("evil")
    index.wheel("evil", scripts=["evil"], files={"evil/more.py": "more = True\n"})
    index._page = lambda name: page

    with pytest.raises(PreparationFailed) as caught:
        builder.build(spec("evil"), lambda progress: None, workshop)
    assert "not the one that the index announced" in caught.value.message


def test_folders_within_folders_without_end_are_measured_and_sealed(index, builder, spec, workshop, surroundings):
    deep = "/".join(["d"] * 1200)
    index.wheel("evil", scripts=["evil"], files={f"evil/{deep}/x.txt": "x"})

    try:
        root = builder.build(spec("evil"), lambda progress: None, workshop)
        (packages,) = Path(root.path).glob("tree/lib/*/site-packages/evil")
        assert stat.S_IMODE((packages / deep / "x.txt").stat().st_mode) == 0o444
    finally:
        # What removes the folders of tests cannot remove these.
        remove(surroundings.cache)


def test_a_module_that_fills_the_memory_is_not_compiled(tmp_path: Path):
    interpreter = inspect(sys.executable, {"PATH": os.defpath})
    packages = tmp_path / interpreter.packages
    packages.mkdir(parents=True)
    with (packages / "big.py").open("wb") as big:
        big.truncate(3 << 30)

    with (tmp_path / "lock").open("w") as lock:
        compile_tree(tmp_path, interpreter, lock.fileno())

    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20, "KiB"
    assert not list(packages.rglob("*.pyc"))
