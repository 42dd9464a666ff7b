"""Programs that prepare a package end in time and know little of the user."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from thv_core.errors import PreparationFailed
from thv_packages.process import Program, passed_environment


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_gives_its_status_and_both_streams():
    program = "import sys; print(sys.stdin.read()); print('oh', file=sys.stderr); sys.exit(3)"
    finished = Program((sys.executable, "-c", program), directory="/", seconds=30, text="in").run()

    assert (finished.status, finished.output, finished.errors) == (3, "in\n", "oh\n")


def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path: Path):
    script = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    started = time.monotonic()
    finished = Program(("/bin/sh", "-c", script), directory="/", seconds=1, environment={"PATH": os.defpath}).run()

    assert finished.timed_out
    assert time.monotonic() - started < 20
    child = int((tmp_path / "child").read_text())
    while alive(child):
        assert time.monotonic() - started < 20
        time.sleep(0.01)


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(PreparationFailed, match="/no/such/program cannot be started"):
        Program(("/no/such/program",), directory="/", seconds=1).run()


def test_a_folder_that_is_gone_is_told_from_a_program_that_is_gone(tmp_path: Path):
    with pytest.raises(PreparationFailed) as caught:
        Program(("/bin/sh", "-c", "true"), directory=str(tmp_path / "gone"), seconds=1).run()

    assert caught.value.evidence == (str(tmp_path / "gone"),)
    assert caught.value.hint


def test_a_representation_shows_no_environment():
    assert "hunter2" not in repr(Program(("x",), "/", 1, {"UV_INDEX_CORP_PASSWORD": "hunter2"}))


def test_only_what_concerns_the_index_and_the_way_to_it_is_passed():
    passed = {
        "UV_DEFAULT_INDEX": "https://index.example",
        "UV_INDEX_CORP_USERNAME": "me",
        "UV_INDEX_CORP_PASSWORD": "x",
        "SSL_CERT_FILE": "/ca.pem",
        "HTTPS_PROXY": "http://proxy:3128",
        "no_proxy": "localhost",
        "HOME": "/home/me",
    }
    kept_back = {
        "GITHUB_TOKEN": "secret",
        "UV_PUBLISH_TOKEN": "secret",
        "UV_CACHE_DIR": "/elsewhere",
        "UV_PYTHON": "/elsewhere",
        "VIRTUAL_ENV": "/elsewhere",
        "PYTHONPATH": "/elsewhere",
        "LD_PRELOAD": "/evil.so",
        "MY_HTTPS_PROXY": "x",
        "UV_SYSTEM_CERTS": "",
    }
    assert passed_environment({**passed, **kept_back}) == passed
