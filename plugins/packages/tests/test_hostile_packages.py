"""Nothing of a package runs while it is prepared, and nothing of it lands outside of its tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from thv_core.errors import PreparationFailed


def touching(mark: Path) -> str:
    return f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"


def test_no_startup_file_of_a_package_runs_while_it_is_prepared(index, builder, spec, tmp_path: Path):
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

    root = builder.build(spec("evil"), lambda progress: None)

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
def test_nothing_is_written_outside_of_the_tree(scripts, files, index, builder, spec, surroundings, tmp_path: Path):
    index.wheel("evil", scripts=scripts, files=files)

    try:
        builder.build(spec("evil"), lambda progress: None)
    except PreparationFailed:
        prepared = ["lock.txt", "tree"]
    else:
        prepared = ["complete", "lock.txt", "tree"]

    (root,) = (path for path in (surroundings.cache / "roots").iterdir() if path.is_dir())
    assert sorted(path.name for path in root.iterdir()) == prepared
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "state"}
    uv = surroundings.cache / "uv"
    assert [
        path for path in surroundings.cache.rglob("escaped") if uv not in path.parents and "tree" not in path.parts
    ] == []


@pytest.mark.parametrize("name", ["python", "python3"])
def test_a_package_cannot_replace_the_interpreter_of_its_root(name, index, builder, spec, tmp_path: Path):
    index.wheel("evil", scripts=["evil"], files={f"evil-1.0.data/scripts/{name}": f"#!/bin/sh\ntouch {tmp_path}/ran\n"})

    try:
        root = builder.build(spec("evil"), lambda progress: None)
    except PreparationFailed:
        pass
    else:
        assert Path(root.command[0]).is_symlink()
    assert not (tmp_path / "ran").exists()


def test_a_changed_file_is_not_installed(index, builder, spec):
    index.wheel("evil", scripts=["evil"])
    page = index._page("evil")
    index.wheel("evil", scripts=["evil"], files={"evil/more.py": "more = True\n"})
    index._page = lambda name: page

    with pytest.raises(PreparationFailed) as caught:
        builder.build(spec("evil"), lambda progress: None)
    assert "not the one that the index announced" in caught.value.message
