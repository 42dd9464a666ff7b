"""uv trusts what the system trusts, unless the user or an empty system says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from thv_packages.trust import certificates, trust


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Give a store of certificates, as a system has one."""
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    return str(tmp_path / "ca.pem")


def test_the_store_of_the_system_is_trusted_when_nobody_says_whom_to_trust(store: str):
    assert trust({}, ["/no/such/store", store]) == {"UV_SYSTEM_CERTS": "1"}
    assert trust({"SSL_CERT_FILE": ""}, [store]) == {"UV_SYSTEM_CERTS": "1"}


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS"])
def test_the_user_decides_whom_to_trust(name: str, store: str):
    assert trust({name: "0"}, [store]) == {}


def test_a_system_without_certificates_leaves_uv_its_own(tmp_path: Path):
    (tmp_path / "empty").touch()

    assert trust({}, [str(tmp_path), str(tmp_path / "empty"), "/no/such/store"]) == {}


def test_jobs_trust_every_file_that_the_user_named_and_otherwise_the_store_of_the_system(store: str, tmp_path: Path):
    (tmp_path / "node.pem").write_text("of node")
    (tmp_path / "user.pem").write_text("of the user")
    user, node = str(tmp_path / "user.pem"), str(tmp_path / "node.pem")

    assert certificates({}, ["/no/such/store", store]) == b"-----BEGIN CERTIFICATE-----"
    assert certificates({"SSL_CERT_FILE": user}, [store]) == b"of the user"
    assert certificates({"SSL_CERT_FILE": user, "NODE_EXTRA_CA_CERTS": node}, [store]) == b"of the user\nof node"
    assert certificates({"SSL_CERT_FILE": user, "NODE_EXTRA_CA_CERTS": user}, [store]) == b"of the user"
    assert certificates({"SSL_CERT_FILE": "/no/such/file"}, [store]) == b"-----BEGIN CERTIFICATE-----"
    assert certificates({}, []) == b""
