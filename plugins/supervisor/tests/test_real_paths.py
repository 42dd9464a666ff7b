"""Where grants really lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.profile import PermissionProfile
from thv_core.model.run_config import RunConfig
from thv_supervisor.real_paths import with_real_paths

CONFIG = RunConfig(name="echo", image="fake://echo@1.0.0")


def test_every_symbolic_link_is_resolved_once_and_for_all(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    config = RunConfig(
        name="echo",
        image="fake://echo@1.0.0",
        permission_profile=PermissionProfile(read=(f"{tmp_path}/link:/r",), write=(f"{tmp_path}/link:/w",)),
        volumes=(f"{tmp_path}/link:/v:ro",),
    )
    found = with_real_paths(config)
    assert found.permission_profile.read == (f"{real}:/r",)
    assert found.permission_profile.write == (f"{real}:/w",)
    assert found.volumes == (f"{real}:/v:ro",)
    assert with_real_paths(found) == found


def test_what_grants_nothing_is_left_alone() -> None:
    assert with_real_paths(CONFIG) == CONFIG


@pytest.mark.parametrize("name", ["a:b", "a;b"])
def test_a_link_to_what_no_grant_can_name_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / name)
    config = RunConfig(name="echo", image="fake://echo@1.0.0", volumes=(f"{tmp_path}/link:/v",))
    with pytest.raises(InvalidRequest, match=f"it leads to .*{name}"):
        with_real_paths(config)


def test_what_is_not_there_cannot_be_granted(tmp_path: Path) -> None:
    config = RunConfig(name="echo", image="fake://echo@1.0.0", volumes=(f"{tmp_path}/missing:/v",))
    with pytest.raises(InvalidRequest, match="cannot be granted: No such file"):
        with_real_paths(config)


def test_the_files_of_tls_and_the_folder_of_a_socket_are_real_too(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "c.pem").write_text("c")
    link = str(tmp_path / "link")
    config = RunConfig(
        name="x", image="y", tls_certificate=f"{link}/c.pem", tls_key=f"{link}/c.pem", socket=f"{link}/s"
    )
    found = with_real_paths(config)
    real = str((tmp_path / "real").resolve())
    assert (found.tls_certificate, found.tls_key, found.socket) == (f"{real}/c.pem", f"{real}/c.pem", f"{real}/s")
    assert with_real_paths(found) == found


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"tls_certificate": "/nowhere/c.pem"}, "the certificate /nowhere/c.pem cannot be read: No such file"),
        ({"tls_key": "/usr"}, "the key /usr cannot be read: Is a directory"),
        ({"socket": "/nowhere/s.sock"}, "no socket can be made at /nowhere/s.sock: No such file"),
    ],
)
def test_a_file_of_tls_that_cannot_be_read_and_a_socket_in_no_folder_are_named(
    keys: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        with_real_paths(RunConfig(name="x", image="y", **keys))
    assert words in refused.value.message
