"""The whole system in a home of its own: real processes, real sandbox, real packages from an index on this disk."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.environments import Environment, workspace
from harness.home import Thv
from harness.lab import Lab
from harness.servers import offer


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user may read; those of pytest are for one alone."""
    folder = Path(tempfile.mkdtemp(prefix="thv-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def wheels(open_folder: Path) -> Path:
    """An index on this disk: the testkit's echo server, a server that runs commands, and one without executable."""
    folder = open_folder / "wheels"
    folder.mkdir()
    offer(folder)
    return folder


@pytest.fixture
def thv(tmp_path: Path, wheels: Path) -> Iterator[Thv]:
    """A fresh home."""
    system = Thv(tmp_path / "home", wheels)
    yield system
    system.close()


@pytest.fixture(scope="session")
def other_environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Another virtual environment with thv in it, and no vendor's plugin."""
    made = Environment(tmp_path_factory.mktemp("other") / "venv")
    made.install(*workspace())
    return made


@pytest.fixture(scope="session")
def lab(open_folder: Path) -> Iterator[Lab]:
    """The test network; it takes root."""
    if os.getuid() != 0:
        assert os.environ.get("CI") != "true", "these tests need root for their network"
        pytest.skip("the test network takes root")
    folder = open_folder / "lab"
    folder.mkdir()
    network = Lab(folder)
    yield network
    network.close()


@pytest.fixture(scope="session")
def trusted(lab: Lab, open_folder: Path) -> Path:
    """A bundle of certificates: those that this machine trusts, and that of the test network."""
    system = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    bundle = open_folder / "trusted.pem"
    bundle.write_text((Path(system).read_text() if system else "") + lab.certificate.read_text())
    return bundle


@pytest.fixture(scope="session")
def nodes(open_folder: Path) -> Path:
    """A folder with ``20`` and ``22``: node of these versions, and npm, from npm."""
    npm = shutil.which("npm")
    assert npm, "npm is needed: apt-get install npm"
    folder = open_folder / "nodes"
    quiet = ["--silent", "--no-audit", "--no-fund", "--no-update-notifier"]
    for version, also in (("20", ()), ("22", ("npm@10",))):
        command = [npm, "install", *quiet, "--prefix", str(folder / version), f"node@{version}", *also]
        subprocess.run(command, check=True, timeout=280)
    return folder
