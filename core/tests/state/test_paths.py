from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from thv_core.errors import InvalidRequest, StateUnusable
from thv_core.state.paths import Paths, private_directory

HOME = {"HOME": "/home/ada"}


def of(environ: dict[str, str], system: str = "linux") -> tuple[str, str, str]:
    paths = Paths.from_environment(environ, system)
    return str(paths.config), str(paths.state), str(paths.cache)


def test_on_linux_the_directories_are_those_of_xdg() -> None:
    assert of(HOME) == ("/home/ada/.config/thv", "/home/ada/.local/state/thv", "/home/ada/.cache/thv")


@pytest.mark.parametrize("system", ["linux", "Linux", "darwin"])
def test_xdg_variables_are_obeyed(system: str) -> None:
    environ = HOME | {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/k"}
    assert of(environ, system) == ("/c/thv", "/s/thv", "/k/thv")


def test_relative_and_empty_xdg_variables_are_ignored_as_the_specification_says() -> None:
    assert of(HOME | {"XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": ""}) == of(HOME)


@pytest.mark.parametrize("system", ["darwin", "Darwin"])
def test_on_macos_they_lie_in_the_library(system: str) -> None:
    support = "/home/ada/Library/Application Support/thv"
    assert of(HOME, system) == (support, support, "/home/ada/Library/Caches/thv")


@pytest.mark.parametrize("system", ["win32", "Windows"])
def test_on_windows_they_lie_in_local_app_data(system: str) -> None:
    assert of({"LOCALAPPDATA": "/L"}, system) == ("/L/thv", "/L/thv", "/L/cache/thv")


def test_thv_home_overrides_everything() -> None:
    environ = HOME | {"THV_HOME": "/t", "XDG_STATE_HOME": "/s"}
    assert of(environ) == ("/t/config", "/t/state", "/t/cache")


def test_thv_home_suffices() -> None:
    assert of({"THV_HOME": "/t"}) == ("/t/config", "/t/state", "/t/cache")


def test_a_relative_thv_home_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not absolute"):
        of(HOME | {"THV_HOME": "here"})


@pytest.mark.parametrize(("system", "variable"), [("linux", "HOME"), ("win32", "LOCALAPPDATA")])
def test_an_environment_without_a_home_is_named(system: str, variable: str) -> None:
    with pytest.raises(StateUnusable, match=f"{variable} is not set"):
        of({}, system)


def test_every_file_has_its_place() -> None:
    paths = Paths(Path("/c"), Path("/s"), Path("/k"))
    assert paths.config_file == Path("/c/config.yaml")
    assert paths.database == Path("/s/state.db")
    assert {paths.lock, paths.control_lock, paths.control_socket} == {
        Path("/s/supervisor.lock"),
        Path("/s/control.lock"),
        Path("/s/control.sock"),
    }
    assert (paths.gateway, paths.interpreter, paths.logs) == (
        Path("/s/gateway"),
        Path("/s/interpreter"),
        Path("/s/logs"),
    )
    assert paths.proxy_log("time") == Path("/s/logs/time.log")
    assert paths.supervisor_log == Path("/s/supervisor.log")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.from_environment({"THV_HOME": str(tmp_path / "home")}, "linux")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_ensure_makes_every_directory_private(paths: Paths) -> None:
    paths.ensure()
    paths.ensure()
    assert {mode(each) for each in (paths.config, paths.state, paths.cache, paths.gateway, paths.logs)} == {0o700}


def test_the_directories_of_a_plugin_are_its_own_and_private(paths: Paths) -> None:
    state, cache = paths.plugin_state("vault"), paths.plugin_cache("vault")
    assert (state.name, cache.name, mode(state), mode(cache)) == ("vault", "vault", 0o700, 0o700)
    assert len({state, cache, paths.plugin_state("other")}) == 3


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\\b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(paths: Paths, name: str) -> None:
    for place in (paths.plugin_state, paths.plugin_cache, paths.proxy_log):
        with pytest.raises(InvalidRequest):
            place(name)


def test_a_directory_that_others_may_read_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert mode(private_directory(tmp_path)) == 0o700


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o1777])
def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    with pytest.raises(StateUnusable, match="writable by others"):
        private_directory(tmp_path)
    assert mode(tmp_path) == bits


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StateUnusable, match="belongs to somebody else"):
        private_directory(tmp_path)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateUnusable, match=str(path)):
            private_directory(path)


def test_a_link_to_a_directory_of_ours_is_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "link").symlink_to(target)
    private_directory(tmp_path / "link")
    assert mode(target) == 0o700
