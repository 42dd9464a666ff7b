"""A package without wheels is built in the workshop, which alone sees its code run."""

from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from thv_core.errors import PreparationFailed, RuntimeUnavailable
from thv_core.spi import Finished, Job, PackageRoot, Progress
from thv_packages.pypi.builder import UvxBuilder
from thv_packages.pypi.refusal import NoWheel
from thv_testkit.fakes import UnisolatedWorkshop


def run(root: PackageRoot) -> str:
    result = subprocess.run(root.command, env=root.environment, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return result.stdout


def ignore(progress: Progress) -> None:
    del progress


class ClosedWorkshop:
    """A workshop that refuses every job, as on a machine that cannot isolate."""

    def run(self, job: Job) -> Finished:
        raise RuntimeUnavailable(f"{job.name} cannot be isolated here", hint="Install bubblewrap.")


def test_a_package_without_a_wheel_is_built_and_runs(index, builder, spec, workshop):
    index.source_distribution("server", requires=["library"])
    index.wheel("library")
    seen: list[Progress] = []

    root = builder.build(spec("server"), seen.append, workshop)

    assert run(root) == "hello from server 1.0\n"
    assert root.packages == 2
    assert [each.step for each in seen] == ["resolving", "building", "compiling", "prepared"]
    assert seen[1].text == "server from source, isolated"
    assert [job.name for job in workshop.jobs] == ["resolve", "install"]


def test_a_needed_package_without_a_wheel_is_built_too_and_named(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"], requires=["library"])
    index.source_distribution("library")
    seen: list[Progress] = []

    root = builder.build(spec("server"), seen.append, workshop)

    assert run(root) == "hello from server 1.0\n"
    assert seen[1].text == "library from source, isolated"


def test_nothing_of_a_package_runs_outside_of_the_workshop(index, builder, spec, tmp_path: Path):
    index.source_distribution("server", setup=f"open({str(tmp_path / 'ran')!r}, 'w')")

    with pytest.raises(RuntimeUnavailable):
        builder.build(spec("server"), ignore, ClosedWorkshop())
    assert not (tmp_path / "ran").exists()


def test_the_jobs_see_the_tools_and_reach_the_index_and_nothing_else(index, builder, spec, workshop, surroundings):
    index.source_distribution("server")
    root = builder.build(spec("server"), ignore, workshop)

    host = index.url.split("/")[2]
    for job in workshop.jobs:
        assert job.reach == (host,)
        assert {Path(path).name for path in job.read} <= {"uv", "lock.txt", *(Path(path).name for path in root.view)}
        assert all(path.startswith(str(surroundings.cache)) for path in job.write)
        assert set(job.environment.values) >= {"HOME", "TMPDIR", "UV_NO_CONFIG"}
        assert job.environment.values["HOME"].startswith(str(surroundings.cache))


def test_what_jobs_leave_behind_is_deleted_and_the_lock_is_kept(index, builder, spec, workshop, surroundings):
    deep = "import os\nfor name in range(1200):\n    os.mkdir('deep')\n    os.chdir('deep')\n"
    setup = "import os; here = os.getcwd(); os.chdir(os.environ['HOME'])\nif not os.path.exists('deep'):\n"
    indented = "".join(f"    {line}\n" for line in deep.splitlines())
    index.source_distribution("server", setup=f"{setup}{indented}os.chdir(here)")

    root = builder.build(spec("server"), ignore, workshop)

    assert list((surroundings.cache / "jobs").iterdir()) == []
    assert "server==1.0 \\\n    --hash=sha256:" in Path(root.path, "lock.txt").read_text()


def test_a_second_build_starts_no_job_and_touches_no_network(index, builder, spec, workshop):
    index.source_distribution("server")
    first = builder.build(spec("server"), ignore, workshop)
    index.stop()

    assert builder.build(spec("server"), ignore, ClosedWorkshop()) == first


def test_every_file_is_ours_read_only_and_readable_by_all(index, builder, spec, workshop):
    index.source_distribution("server", setup="import os; os.umask(0o077)")
    root = builder.build(spec("server"), ignore, workshop)

    for folder, _, names in os.walk(Path(root.path, "tree")):
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o755
        for path in (Path(folder, name) for name in names):
            assert path.lstat().st_uid == os.geteuid()
            assert path.is_symlink() or stat.S_IMODE(path.stat().st_mode) in (0o444, 0o555), path


class Tampered:
    """A workshop whose job ``install`` does something else to its tree besides, as a hostile build could."""

    def __init__(self, workshop: UnisolatedWorkshop, tamper: Callable[[Path], object]) -> None:
        self._workshop = workshop
        self._tamper = tamper

    def run(self, job: Job) -> Finished:
        finished = self._workshop.run(job)
        if job.name == "install":
            self._tamper(Path(job.write[-1]))
        return finished


@pytest.mark.parametrize("name", ["bin", "lib/stolen"])
def test_a_build_that_leaves_a_link_out_of_its_tree_is_refused(name, index, builder, spec, workshop, tmp_path: Path):
    def tamper(tree: Path) -> None:
        if (tree / name).exists():
            (tree / name).rename(tree / "was")
        (tree / name).symlink_to(tmp_path)

    (tmp_path / "python").write_text("mine")
    index.source_distribution("server")

    with pytest.raises(PreparationFailed, match=r"not safe to keep|could not be prepared"):
        builder.build(spec("server"), ignore, Tampered(workshop, tamper))
    assert (tmp_path / "python").read_text() == "mine"


def test_an_interpreter_that_a_build_replaced_is_not_the_one_of_its_root(index, builder, spec, workshop):
    def tamper(tree: Path) -> None:
        for name in ("bin/python", "bin/python3", "lib64", "pyvenv.cfg"):
            (tree / name).unlink()
        (tree / "bin/python").mkdir()
        (tree / "bin/python3").write_text("#!/bin/sh\necho hostile\n")
        (tree / "pyvenv.cfg").symlink_to("/etc/passwd")

    index.source_distribution("server")
    root = builder.build(spec("server"), ignore, Tampered(workshop, tamper))

    assert os.path.realpath(root.command[0]) == os.path.realpath(builder._settings.python)
    assert run(root) == "hello from server 1.0\n"


def junk(record: Path) -> None:
    record.write_bytes(b"\xff\xfe\x00")


def endless(record: Path) -> None:
    os.truncate(record, 1 << 40)


def circle(record: Path) -> None:
    (record.parents[4] / "bin" / "circle").symlink_to("circle")
    record.write_text("../../../bin/circle,,\n")


@pytest.mark.parametrize("tamper", [junk, endless, circle, Path.unlink])
def test_a_record_that_a_build_made_useless_offers_no_executable(tamper, index, builder, spec, workshop, surroundings):
    def tamper_record(tree: Path) -> None:
        (record,) = tree.glob("lib/*/site-packages/server-1.0.dist-info/RECORD")
        tamper(record)

    index.source_distribution("server")

    with pytest.raises(PreparationFailed, match="offers no executable"):
        builder.build(spec("server"), ignore, Tampered(workshop, tamper_record))
    assert not any(path.is_dir() for path in (surroundings.cache / "roots").iterdir()), "half of a root is left"


def test_a_link_in_place_of_the_lock_is_not_followed(index, builder, spec, workshop, tmp_path: Path):
    (tmp_path / "private").write_text("server==1.0\n")
    place = "os.path.join(os.environ['HOME'], '..', 'requirements.txt')"
    link = f"import os\nif not os.path.lexists({place}): os.symlink({str(tmp_path / 'private')!r}, {place})"
    index.source_distribution("server", setup=link)

    with pytest.raises(PreparationFailed):
        builder.build(spec("server"), ignore, workshop)
    assert not list(tmp_path.rglob("complete"))


def test_a_build_that_fails_is_told_with_its_last_words(index, builder, spec, workshop):
    index.source_distribution("server", setup="raise SystemExit('no compiler of Fortran')")

    with pytest.raises(PreparationFailed) as caught:
        builder.build(spec("server"), ignore, workshop)
    assert caught.value.message == "server could not be built from source"
    assert any("no compiler of Fortran" in line for line in caught.value.evidence)


@pytest.mark.parametrize("settings", [{"index_username": "me", "index_password_secret": "INDEX"}, {}])
def test_an_index_with_a_password_delivers_wheels_only(settings, index, surroundings, spec, workshop):
    index.source_distribution("server")
    guarded = {} if settings else {"UV_DEFAULT_INDEX": index.url.replace("://", "://me:hunter2@")}
    surroundings = dataclasses.replace(
        surroundings, environment={**surroundings.environment, **guarded}, secret=lambda name: "hunter2"
    )
    builder = UvxBuilder.from_settings({**settings, **({"index": index.url} if settings else {})}, surroundings)

    with pytest.raises(NoWheel) as caught:
        builder.build(spec("server"), ignore, workshop)
    assert "password of your package index" in caught.value.evidence[-1]
    assert "hunter2" not in str(caught.value)
    assert workshop.jobs == []
