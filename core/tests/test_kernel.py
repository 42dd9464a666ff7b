from __future__ import annotations

from pathlib import Path

import pytest

from thv_core.errors import SecretNotFound
from thv_core.kernel import compose


def test_a_driver_is_told_which_folders_no_server_may_be_granted(tmp_path: Path) -> None:
    kernel = compose({"THV_HOME": str(tmp_path)}, "linux")
    surroundings = kernel.surroundings("sandbox")
    assert surroundings.forbidden == (tmp_path / "config", tmp_path / "state", tmp_path / "cache")
    assert surroundings.state.is_relative_to(tmp_path / "state")
    assert surroundings.cache.is_relative_to(tmp_path / "cache")


def test_certificates_that_the_user_chose_are_named_to_every_driver(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir(mode=0o700)
    (config / "config.yaml").write_text("ca_certificate_path: /etc/company/ca.pem\n")
    environment = {"THV_HOME": str(tmp_path), "SSL_CERT_FILE": "/mine.pem", "LANG": "C"}
    shown = compose(environment, "linux").surroundings("npx").environment
    assert shown == environment | dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), "/etc/company/ca.pem")
    assert environment["SSL_CERT_FILE"] == "/mine.pem"


def test_without_a_choice_the_certificates_are_those_of_the_environment(tmp_path: Path) -> None:
    environment = {"THV_HOME": str(tmp_path), "SSL_CERT_FILE": "/mine.pem"}
    assert compose(environment, "linux").surroundings("npx").environment == environment


def test_a_driver_asks_for_secrets_of_the_chosen_store(tmp_path: Path) -> None:
    surroundings = compose({"THV_HOME": str(tmp_path)}, "linux").surroundings("npx")
    with pytest.raises(SecretNotFound, match="no secret store is chosen"):
        surroundings.secret("token")
