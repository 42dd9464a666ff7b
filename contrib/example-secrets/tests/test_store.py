"""What the conformance tests cannot know: the files that lie beside the secrets."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from example_thv_secrets import JsonFileStore
from thv_core.errors import SecretStoreFailed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "poetry.json"


def test_files_of_somebody_else_stay_as_they_are(path: Path) -> None:
    others = [path.with_name(name) for name in ("poetry.lock", "poetry.draft", "poetry.json.lock", "poetry.json.draft")]
    for other in others:
        other.write_text("not ours")
    JsonFileStore(path).set("TOKEN", "shh")
    assert {other.read_text() for other in others} == {"not ours"}
    assert sorted(path.parent.iterdir()) == sorted([path, *others])


def test_nobody_else_can_read_the_file_whatever_was_left_beside_it(path: Path) -> None:
    for name in ("poetry.json", "poetry.draft", "poetry.json.draft"):
        path.with_name(name).write_text("{}")
        path.with_name(name).chmod(0o644)
    JsonFileStore(path).set("TOKEN", "shh")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_change_that_fails_leaves_no_draft(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SecretStoreFailed, match="No space left"):
        JsonFileStore(path).set("TOKEN", "shh")
    assert [each.name for each in path.parent.iterdir()] == ["poetry.json.lock"]


def test_a_lock_that_is_never_released_is_told_in_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with path.with_name("poetry.json.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SecretStoreFailed, match="locked by another process") as caught:
            JsonFileStore(path).set("TOKEN", "shh")
    assert caught.value.hint
    JsonFileStore(path).set("TOKEN", "shh")
