"""What is prepared is listed with its use, and deleted without harm to who prepares at the same time."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from thv_core.errors import TimedOut
from thv_core.spi import PackageRoot, PreparedPackage
from thv_packages import inventory
from thv_packages.shelf import Shelf

DIGESTS = [f"{number}" * 32 for number in range(10)]


def put(cache: Path, label: str, version: str, digest: str, identity: str = "x") -> PackageRoot:
    shelf = Shelf(cache, identity)
    with shelf.held(digest), shelf.making(digest) as folder:
        (folder / "tree").mkdir()
        (folder / "tree" / "program").touch()
        root = PackageRoot(path=str(folder), command=(str(folder / "tree" / "program"),), packages=2, size=7)
        shelf.complete(digest, root)
        shelf.remember(label, version, digest)
    return root


def test_every_complete_root_is_listed_whatever_runs_it(tmp_path: Path):
    first = put(tmp_path, "@a/b", "1.0.0", DIGESTS[0])
    put(tmp_path, "server[x]", "2.0", DIGESTS[1], identity="y")

    listed = {each.reference: each for each in inventory.prepared(tmp_path, "npx")}

    assert set(listed) == {"npx://@a/b@1.0.0", "npx://server[x]@2.0"}
    assert listed["npx://@a/b@1.0.0"] == PreparedPackage(
        reference="npx://@a/b@1.0.0",
        path=first.path,
        packages=2,
        size=7,
        used_at=(Path(first.path) / "complete").stat().st_mtime,
    )


def test_finding_a_root_is_using_it(tmp_path: Path):
    root = put(tmp_path, "a", "1.0", DIGESTS[0])
    os.utime(Path(root.path) / "complete", (1, 1))
    before = time.time()

    assert inventory.prepared(tmp_path, "uvx")[0].used_at == 1
    assert Shelf(tmp_path, "x").find("a", "1.0") == root
    assert inventory.prepared(tmp_path, "uvx")[0].used_at >= before - 1


def test_a_discarded_root_is_gone_with_every_entry_and_the_others_stay(tmp_path: Path):
    put(tmp_path, "a", "1.0", DIGESTS[0])
    Shelf(tmp_path, "x").remember("a[extra]", "1.0", DIGESTS[0])
    put(tmp_path, "b", "1.0", DIGESTS[1])
    first = next(each for each in inventory.prepared(tmp_path, "uvx") if each.reference == "uvx://a@1.0")

    inventory.discard(tmp_path, first)

    assert [each.reference for each in inventory.prepared(tmp_path, "uvx")] == ["uvx://b@1.0"]
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == ["b"]
    assert [path.name for path in (tmp_path / "roots").iterdir() if path.is_dir()] == [DIGESTS[1]]
    inventory.discard(tmp_path, first)


@pytest.mark.parametrize("path", ["", "/", "/etc", "../roots/x", "ROOTS/../index", "ELSEWHERE/roots/DIGEST"])
def test_a_path_that_is_no_root_of_this_cache_is_left_alone(path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere, "a", "1.0", DIGESTS[0])
    put(tmp_path / "cache", "a", "1.0", DIGESTS[0])
    path = path.replace("ELSEWHERE", str(elsewhere)).replace("DIGEST", DIGESTS[0]).replace("ROOTS", str(tmp_path))

    inventory.discard(tmp_path / "cache", PreparedPackage(reference="uvx://a@1.0", path=path))

    assert len(inventory.prepared(tmp_path / "cache", "uvx")) == len(inventory.prepared(elsewhere, "uvx")) == 1


def test_half_made_roots_and_jobs_of_nobody_are_swept_and_those_of_somebody_stay(tmp_path: Path):
    shelf = Shelf(tmp_path, "x")
    put(tmp_path, "a", "1.0", DIGESTS[0])
    for digest in DIGESTS[1:3]:
        (shelf.folder(digest) / "tree").mkdir(parents=True)
        shelf.jobs(digest).mkdir(parents=True)
    (listed,) = inventory.prepared(tmp_path, "uvx")

    with shelf.held(DIGESTS[2]):
        inventory.discard(tmp_path, listed)

    assert not shelf.folder(DIGESTS[1]).exists()
    assert not shelf.jobs(DIGESTS[1]).exists()
    assert shelf.folder(DIGESTS[2]).exists()
    assert shelf.jobs(DIGESTS[2]).exists()


def test_a_root_that_somebody_works_on_is_not_deleted(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(inventory, "_PATIENCE", 0.1)
    put(tmp_path, "a", "1.0", DIGESTS[0])
    (listed,) = inventory.prepared(tmp_path, "uvx")

    with Shelf(tmp_path, "x").held(DIGESTS[0]), pytest.raises(TimedOut):
        inventory.discard(tmp_path, listed)
    assert inventory.prepared(tmp_path, "uvx") == [listed]


def test_preparing_and_deleting_at_the_same_time_end_with_a_whole_root_or_none(tmp_path: Path):
    end = time.monotonic() + 1.5
    failures: list[BaseException] = []

    def repeat(step) -> None:
        try:
            while time.monotonic() < end:
                step()
        except BaseException as error:
            failures.append(error)

    def delete() -> None:
        for each in inventory.prepared(tmp_path, "uvx"):
            inventory.discard(tmp_path, each)

    def find() -> None:
        root = Shelf(tmp_path, "x").find("a", "1.0")
        assert root is None or root.packages == 2

    steps = [lambda: put(tmp_path, "a", "1.0", DIGESTS[0]), delete, delete, find]
    threads = [threading.Thread(target=repeat, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert failures == []
    put(tmp_path, "a", "1.0", DIGESTS[0])
    assert len(inventory.prepared(tmp_path, "uvx")) == 1
