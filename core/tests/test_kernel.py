from __future__ import annotations

from pathlib import Path

from thv_core.kernel import compose


def test_a_driver_is_told_which_folders_no_server_may_be_granted(tmp_path: Path) -> None:
    kernel = compose({"THV_HOME": str(tmp_path)}, "linux")
    surroundings = kernel.surroundings("sandbox")
    assert surroundings.forbidden == (tmp_path / "config", tmp_path / "state", tmp_path / "cache")
    assert surroundings.state.is_relative_to(tmp_path / "state")
    assert surroundings.cache.is_relative_to(tmp_path / "cache")
