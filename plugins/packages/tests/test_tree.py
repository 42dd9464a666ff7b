"""What a job leaves in a tree is taken over only when it is safe to keep."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from thv_core.errors import PreparationFailed
from thv_packages.disk import read_bounded, remove
from thv_packages.tree import seal, size, take_over

NOBODY = 65534


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a tree with a folder, a file, a program and a link."""
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "file").write_text("12345")
    (tree / "inner" / "program").write_text("123")
    (tree / "inner" / "program").chmod(0o700)
    (tree / "link").symlink_to("inner/file")
    return tree


def private(tree: Path) -> None:
    for path in (tree / "inner" / "file", tree / "inner", tree):
        path.chmod(0o600 if path.is_file() else 0o700)


def test_everybody_may_read_and_we_alone_write_what_was_taken_over(tree: Path):
    private(tree)

    take_over(tree, "server")

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tree, *tree.rglob("*"))}
    assert modes == {"tree": 0o755, "inner": 0o755, "file": 0o644, "program": 0o755, "link": 0o644}
    assert size(tree) == 8


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have files of another user taken over")
def test_the_files_of_another_user_become_ours_and_links_are_not_followed(tree: Path, tmp_path: Path):
    for path in (tree, *tree.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)

    take_over(tree, "server")

    assert {path.lstat().st_uid for path in (tree, *tree.rglob("*"))} == {0}


@pytest.mark.parametrize(
    ("trap", "reason"),
    [
        (lambda tree: (tree / "x").symlink_to("/etc/passwd"), "a link that leaves"),
        (lambda tree: (tree / "x").symlink_to("../" * 40 + "etc"), "a link that leaves"),
        (lambda tree: ((tree / "d").symlink_to("inner"), (tree / "x").symlink_to("d/../../..")), "a link that leaves"),
        (lambda tree: (tree / "x").symlink_to("/no/such"), "a link that leaves"),
        (lambda tree: (tree / "x").symlink_to(f"{tree}-other"), "a link that leaves"),
        (lambda tree: os.mkfifo(tree / "x"), "neither a file nor a folder"),
        (lambda tree: ((tree / "x").touch(), (tree / "x").chmod(0o4755)), "another user"),
        (lambda tree: ((tree / "x").touch(), (tree / "x").chmod(0o2755)), "another user"),
        (lambda tree: Path(tree, "/".join("x" * 150)).mkdir(parents=True), "folders within folders"),
    ],
)
def test_a_trap_is_refused_with_its_place(trap: Callable[[Path], object], reason: str, tree: Path):
    trap(tree)

    with pytest.raises(PreparationFailed) as caught:
        take_over(tree, "server==1.0")
    assert caught.value.message.startswith("server==1.0 put something into its folder")
    assert caught.value.evidence[0].startswith("'x")
    assert reason in caught.value.evidence[0]


def test_links_within_the_tree_are_kept(tree: Path):
    (tree / "absolute").symlink_to(tree / "inner")
    (tree / "dangling").symlink_to("inner/later")
    (tree / "circle").symlink_to("circle")

    take_over(tree, "server")

    assert (tree / "dangling").is_symlink()


def test_sealing_makes_folders_readable_whatever_the_mask_of_the_user_was(tree: Path):
    private(tree)

    seal(tree)

    assert stat.S_IMODE((tree / "inner").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "inner" / "file").stat().st_mode) == 0o444


def test_a_folder_is_deleted_however_deep_and_closed_it_is(tmp_path: Path, tree: Path):
    here = Path.cwd()
    os.chdir(tree)
    try:
        for _ in range(1500):
            Path("deep").mkdir()
            os.chdir("deep")
    finally:
        os.chdir(here)
    (tmp_path / "outside").write_text("stays")
    (tree / "out").symlink_to(tmp_path)
    (tree / "inner").chmod(0)

    remove(tree)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside"]
    remove(tree)


@pytest.mark.parametrize("act", [remove, lambda tree: take_over(tree, "server")])
def test_a_link_that_appears_between_a_look_and_a_change_is_not_followed(act, tree: Path, tmp_path: Path, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o711)
    (outside / "file").write_text("stays")
    chmod = os.chmod

    def swapping(path, mode, **options) -> None:
        if (tree / "inner").is_dir() and not (tree / "inner").is_symlink():
            (tree / "inner").rename(tmp_path / "was")
            (tree / "inner").symlink_to(outside)
        chmod(path, mode, **options)

    (tree / "inner").chmod(0o700)
    monkeypatch.setattr(os, "chmod", swapping)
    with contextlib.suppress(OSError, PreparationFailed):
        act(tree)

    assert (tmp_path / "was").exists(), "nothing was swapped"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o711
    assert (outside / "file").read_text() == "stays"


def test_only_a_plain_file_of_bounded_size_is_read(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")

    assert read_bounded(tmp_path / "file", 5) == b"12345"
    for name, most in (("file", 4), ("link", 5), ("pipe", 5), ("absent", 5)):
        with pytest.raises(OSError, match=name):
            read_bounded(tmp_path / name, most)
