"""A package becomes a read-only root that runs, is found again in no time, and names what it lacks."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
import subprocess
import time
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from thv_core.errors import InvalidRequest, PackageNotFound, PreparationFailed, SettingsError, Unavailable
from thv_core.spi import PackageRoot, PackageSpec, Progress
from thv_packages.pypi.builder import UvxBuilder


def run(root: PackageRoot) -> str:
    result = subprocess.run(root.command, env=root.environment, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return result.stdout


def ignore(progress: Progress) -> None:
    del progress


def files(root: PackageRoot) -> list[Path]:
    return [path for path in Path(root.path, "tree").rglob("*") if path.is_file() and not path.is_symlink()]


def test_a_package_and_what_it_needs_become_a_root_that_runs(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"], requires=["library>=1"])
    index.wheel("library", "1.5", files={"library/data.txt": "x" * 3_000_000})

    root = builder.build(spec("server"), ignore, workshop)

    assert run(root) == "hello from server 1.0\n"
    assert all(Path(argument).is_absolute() for argument in root.command)
    assert root.packages == 2
    assert 3_000_000 < root.size < 3_100_000


def test_each_slow_step_announces_itself_and_the_last_says_what_was_prepared(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"])
    seen: list[Progress] = []

    builder.build(spec("server"), seen.append, workshop)

    assert [each.step for each in seen] == ["resolving", "downloading", "compiling", "prepared"]
    assert seen[-1].text == "1 package, 1 MB"
    assert seen[-1].seconds > 0


def test_a_second_build_touches_no_network_and_is_fast(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"])
    first = builder.build(spec("server"), ignore, workshop)
    index.stop()
    seen: list[Progress] = []

    started = time.monotonic()
    again = builder.build(spec("server"), seen.append, workshop)

    assert time.monotonic() - started < 0.1
    assert again == first
    assert [(each.step, each.text) for each in seen] == [("prepared", "1 package, 1 MB, already here")]


def test_extras_bring_what_they_need(index, builder, spec, workshop):
    metadata = "Metadata-Version: 2.1\nName: server\nVersion: 1.0\nProvides-Extra: x\n"
    lines = 'Requires-Dist: library; extra == "x"\n'
    index.wheel("server", scripts=["server"], files={"server-1.0.dist-info/METADATA": metadata + lines})
    index.wheel("library")

    assert builder.build(spec("server"), ignore, workshop).packages == 1
    assert builder.build(spec("server[x]"), ignore, workshop).packages == 2


def test_every_file_is_read_only_and_readable_by_all(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"])
    root = builder.build(spec("server"), ignore, workshop)

    assert files(root)
    for path in files(root):
        assert stat.S_IMODE(path.stat().st_mode) in (0o444, 0o555), path


def test_a_root_can_be_deleted_by_whoever_owns_the_cache(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"])
    root = builder.build(spec("server"), ignore, workshop)

    shutil.rmtree(root.path)

    assert run(builder.build(spec("server"), ignore, workshop)) == "hello from server 1.0\n"


def test_a_cache_that_was_deleted_while_the_builder_lives_is_made_again(
    index, surroundings, spec, workshop, tmp_path: Path
):
    index.wheel("server", scripts=["server"])
    cache = tmp_path / "whole" / "cache"
    builder = UvxBuilder.from_settings({}, dataclasses.replace(surroundings, cache=cache))
    builder.build(spec("server"), ignore, workshop)
    shutil.rmtree(tmp_path / "whole")

    assert run(builder.build(spec("server"), ignore, workshop)) == "hello from server 1.0\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (cache, cache.parent)} == {0o700}


def test_every_module_is_compiled_even_when_python_was_told_not_to(index, surroundings, spec, monkeypatch, workshop):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    surroundings = type(surroundings)(
        surroundings.state, surroundings.cache, {**surroundings.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    index.wheel("server", scripts=["server"], files={"server/broken.py": "print 'this is Python 2'"})

    root = UvxBuilder.from_settings({}, surroundings).build(spec("server"), ignore, workshop)

    modules = [path for path in files(root) if path.suffix == ".py" and path.name != "broken.py"]
    assert modules
    assert all(Path(cache_from_source(str(path))).exists() for path in modules)
    assert run(root) == "hello from server 1.0\n"


def test_the_view_holds_what_the_interpreter_needs_outside_of_usr(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"])
    root = builder.build(spec("server"), ignore, workshop)

    interpreter = os.path.realpath(root.command[0])
    assert interpreter.startswith(("/usr/", *root.view))
    assert all(Path(path).is_absolute() and Path(path).exists() for path in root.view)
    assert not any(path == "/" or path.startswith("/usr") for path in root.view)


def test_the_only_executable_is_taken_whatever_its_name(index, builder, spec, workshop):
    index.wheel("server", scripts=["other = server:main"], requires=["library"])
    index.wheel("library", scripts=["server"])

    root = builder.build(spec("server"), ignore, workshop)

    assert Path(root.command[-1]).name == "other"


def test_the_executable_named_like_the_package_is_preferred_in_any_spelling(index, builder, spec, workshop):
    index.wheel("my-own.server", scripts=["aaa = my_own_server:main", "My_own.server = my_own_server:main"])
    index.files["my-own-server"] = index.files["my-own.server"]

    root = builder.build(spec("My.Own_Server"), ignore, workshop)

    assert Path(root.command[-1]).name == "My_own.server"


def test_a_program_that_is_not_python_is_started_itself(index, builder, spec, workshop):
    index.wheel("server", files={"server-1.0.data/scripts/server": "#!/bin/sh\necho hello from a shell\n"})

    root = builder.build(spec("server"), ignore, workshop)

    assert len(root.command) == 1
    assert run(root) == "hello from a shell\n"


def test_a_package_without_an_executable_is_refused(index, builder, spec, workshop):
    index.wheel("server")

    with pytest.raises(PreparationFailed, match=r"server==1\.0 offers no executable"):
        builder.build(spec("server"), ignore, workshop)


def test_several_executables_of_other_names_are_listed(index, builder, spec, workshop):
    index.wheel("server", scripts=["one = server:main", "two = server:main"])

    with pytest.raises(PreparationFailed) as caught:
        builder.build(spec("server"), ignore, workshop)
    assert caught.value.evidence == ("one, two",)
    assert "named like its package" in caught.value.hint


def test_a_missing_package_is_named_with_what_was_meant(builder, spec, workshop):
    with pytest.raises(PackageNotFound) as caught:
        builder.build(spec("mcp-server-fecth"), ignore, workshop)
    assert caught.value.message == "the package index has no package mcp-server-fecth"
    assert caught.value.hint == "Did you mean mcp-server-fetch?"


def test_a_missing_package_without_a_near_name_says_what_to_check(builder, spec, workshop):
    with pytest.raises(PackageNotFound) as caught:
        builder.build(spec("zzz", "9999"), ignore, workshop)
    assert caught.value.message == "the package index has no package zzz"
    assert caught.value.hint == "Check the spelling, or name the index with UV_DEFAULT_INDEX."


def test_a_missing_version_is_named(index, builder, spec, workshop):
    index.wheel("server")

    with pytest.raises(PackageNotFound) as caught:
        builder.build(spec("server", "9.9"), ignore, workshop)
    assert caught.value.message == "the package index has no version 9.9 of server"
    assert caught.value.hint == "The newest:  thv run uvx://server"


def test_a_needed_package_that_does_not_exist_is_evidence_and_not_the_package_asked_for(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"], requires=["nowhere"])

    with pytest.raises(PreparationFailed) as caught:
        builder.build(spec("server"), ignore, workshop)
    assert any("nowhere was not found" in line for line in caught.value.evidence)


def test_a_wheel_for_another_machine_is_told(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"], tag="cp311-cp311-win_amd64")

    with pytest.raises(PreparationFailed, match=r"server 1\.0 has no wheel for this machine"):
        builder.build(spec("server"), ignore, workshop)


def test_a_package_for_another_python_is_told(index, builder, spec, workshop):
    metadata = "Metadata-Version: 2.1\nName: server\nVersion: 1.0\nRequires-Python: >=99\n"
    index.wheel("server", scripts=["server"], files={"server-1.0.dist-info/METADATA": metadata})

    with pytest.raises(PreparationFailed, match=r"server==1\.0 needs Python >=99"):
        builder.build(spec("server"), ignore, workshop)


def test_a_silent_index_is_unavailable(index, builder, spec, workshop):
    index.stop()

    with pytest.raises(Unavailable):
        builder.build(spec("server"), ignore, workshop)


def test_a_package_of_another_scheme_or_without_version_is_refused(builder, workshop):
    for package in (
        PackageSpec(scheme="npx", name="server", version="1.0"),
        PackageSpec(scheme="uvx", name="server", version=""),
    ):
        with pytest.raises(InvalidRequest):
            builder.build(package, ignore, workshop)


def test_a_damaged_index_entry_is_made_again(index, builder, spec, surroundings, workshop):
    index.wheel("server", scripts=["server"])
    first = builder.build(spec("server"), ignore, workshop)
    (entry,) = (surroundings.cache / "index" / "server").iterdir()

    for content in (b"", b"../../etc", b"0" * 32, b"\xff\xfe", b"0" * 100_000):
        entry.write_bytes(content)
        assert builder.build(spec("server"), ignore, workshop) == first
        assert entry.read_text() == Path(first.path).name


def test_a_damaged_root_is_made_again(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"])
    first = builder.build(spec("server"), ignore, workshop)

    for damage in ("complete", "tree/bin/server", "tree/bin/python"):
        Path(first.path, damage).unlink()
        assert builder.build(spec("server"), ignore, workshop) == first
        assert run(first) == "hello from server 1.0\n"


def test_a_mark_of_completeness_that_does_not_parse_is_none(index, builder, spec, workshop):
    index.wheel("server", scripts=["server"])
    first = builder.build(spec("server"), ignore, workshop)
    Path(first.path, "complete").write_bytes(b'{"path": ')

    assert builder.build(spec("server"), ignore, workshop) == first


def test_a_cache_that_was_moved_is_made_again_in_its_new_place(
    index, builder, spec, surroundings, workshop, tmp_path: Path
):
    index.wheel("server", scripts=["server"])
    builder.build(spec("server"), ignore, workshop)
    surroundings.cache.rename(tmp_path / "moved")
    moved = UvxBuilder.from_settings({}, type(surroundings)(surroundings.state, tmp_path / "moved", builder_env(index)))

    root = moved.build(spec("server"), ignore, workshop)

    assert root.path.startswith(str(tmp_path / "moved"))
    assert run(root) == "hello from server 1.0\n"


def builder_env(index) -> dict[str, str]:
    return {"UV_DEFAULT_INDEX": index.url}


def test_an_interpreter_can_be_chosen(index, surroundings, spec, workshop):
    index.wheel("server", scripts=["server"])
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    assert python, "these tests need a system Python"

    root = UvxBuilder.from_settings({"python": python}, surroundings).build(spec("server"), ignore, workshop)

    assert os.path.realpath(root.command[0]) == os.path.realpath(python)
    assert run(root) == "hello from server 1.0\n"


def test_a_file_that_is_no_python_is_named(surroundings, spec, workshop):
    builder = UvxBuilder.from_settings({"python": shutil.which("true")}, surroundings)

    with pytest.raises(PreparationFailed, match="true is not a usable Python"):
        builder.build(spec("server"), ignore, workshop)


def test_a_wrong_setting_is_named(surroundings):
    with pytest.raises(SettingsError, match="pyhton"):
        UvxBuilder.from_settings({"pyhton": "/usr/bin/python3"}, surroundings)


def test_a_cache_that_cannot_be_written_is_a_failed_preparation(index, builder, spec, surroundings, workshop):
    index.wheel("server", scripts=["server"])
    (surroundings.cache / "roots").write_text("a file where a folder should be")

    with pytest.raises(PreparationFailed, match="could not be prepared"):
        builder.build(spec("server"), ignore, workshop)
