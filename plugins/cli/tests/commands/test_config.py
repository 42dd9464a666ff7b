"""``thv config``."""

from __future__ import annotations

import json
from typing import Any

import pytest

STORE = "[thv.secrets]\nacme = acme_store:Store\n"


def settings(machine: Any) -> str:
    return (machine.home / ".config" / "thv" / "config.yaml").read_text()


@pytest.fixture
def configured(machine: Any) -> Any:
    file = machine.home / ".config" / "thv" / "config.yaml"
    file.parent.mkdir(parents=True, mode=0o700)
    file.write_text("# mine\nruntime: sandbox  # for now\nplugins:\n  vault:\n    mount: kv\n    tls: true\n")
    return machine


def test_a_value_that_was_set_is_printed_and_unset_again(machine: Any) -> None:
    done = machine.thv("config", "set", "start_timeout", "7.5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "start_timeout is now 7.5\n")
    assert machine.thv("config", "get", "start_timeout").stdout == "7.5\n"
    assert machine.thv("config", "unset", "start_timeout").stderr == "start_timeout is not set any more\n"
    assert machine.thv("config", "get", "start_timeout").stdout == "60\n"


def test_comments_survive(configured: Any) -> None:
    configured.thv("config", "set", "request_timeout", "9")
    assert settings(configured).startswith("# mine\nruntime: sandbox  # for now\n")
    assert "request_timeout: 9" in settings(configured)


def test_a_secret_store_that_is_installed_can_be_chosen(machine: Any) -> None:
    machine.install("acme-thv-secrets", STORE, acme_store="raise RuntimeError('imported')\n")
    done = machine.thv("config", "set", "secrets.provider", "acme")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "acme is now the secret store (acme-thv-secrets 1.4.0)\n"
    assert machine.thv("config", "get", "secrets.provider").stdout == "acme\n"


def test_an_egress_that_is_installed_can_be_chosen_and_no_other(machine: Any) -> None:
    machine.install("acme-thv-egress", "[thv.egress]\nacme = acme_egress:Egress\n")
    assert machine.thv("config", "set", "egress", "acme").stderr == "acme is now the egress (acme-thv-egress 1.4.0)\n"
    assert machine.thv("config", "set", "egress", "acne").returncode == 1
    assert machine.thv("config", "get", "egress").stdout == "acme\n"


def test_a_secret_store_that_is_not_installed_is_refused_and_the_known_ones_are_named(machine: Any) -> None:
    done = machine.thv("config", "set", "secrets.provider", "acne")
    assert done.returncode == 1
    assert "'acne'" in done.stderr
    assert "environment" in done.stderr
    assert machine.thv("config", "get", "secrets.provider").stdout == "\n"


def test_a_secret_store_that_may_not_be_loaded_is_refused(machine: Any) -> None:
    machine.install("acme-thv-secrets", STORE, requires="thv-core>=9")
    done = machine.thv("config", "set", "secrets.provider", "acme")
    assert done.returncode == 1
    assert "acme-thv-secrets 1.4.0" in done.stderr


def test_choosing_no_store_is_possible(machine: Any) -> None:
    assert machine.thv("config", "set", "secrets.provider", "").returncode == 0


@pytest.mark.parametrize("arguments", [("get", "runtme"), ("set", "runtme", "x"), ("unset", "runtme")])
def test_a_misspelt_key_gets_the_nearest(machine: Any, arguments: tuple[str, ...]) -> None:
    done = machine.thv("config", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: runtme is not a known setting\n  Did you mean runtime?\n"


def test_a_value_of_the_wrong_type_is_refused(machine: Any) -> None:
    done = machine.thv("config", "set", "start_timeout", "soon")
    assert done.returncode == 2
    assert done.stderr.startswith("error: start_timeout cannot be 'soon'")


def test_a_setting_of_a_plugin_that_is_not_set_is_said_to_be_so(machine: Any) -> None:
    done = machine.thv("config", "get", "plugins.vault.mount")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error: plugins.vault.mount is not set\n  thv config set plugins.vault.mount VALUE\n")


def test_the_list_has_every_setting_and_those_of_plugins(configured: Any) -> None:
    lines = configured.thv("config", "list").stdout.splitlines()
    rows = [line.split() for line in lines]
    assert rows[0] == ["KEY", "VALUE"]
    assert ["runtime", "sandbox"] in rows
    assert ["plugins.vault.mount", "kv"] in rows
    assert ["plugins.vault.tls", "true"] in rows
    assert all(line == line.rstrip() for line in lines)


def test_the_list_as_json_keeps_the_types(configured: Any) -> None:
    document = json.loads(configured.thv("config", "list", "--format", "json").stdout)
    assert document["plugins.vault.tls"] is True
    assert document["disabled"] == []
    assert document["start_timeout"] == 60


def test_a_list_is_shown_as_it_is_set(machine: Any) -> None:
    machine.thv("config", "set", "disabled", "a,b")
    assert machine.thv("config", "get", "disabled").stdout == "a,b\n"
    assert json.loads(machine.thv("config", "get", "disabled", "--format", "json").stdout) == ["a", "b"]


def test_settings_that_are_not_yaml_are_named_with_their_line(configured: Any) -> None:
    (configured.home / ".config" / "thv" / "config.yaml").write_text("runtime: [\n")
    done = configured.thv("config", "get", "runtime")
    assert done.returncode == 2
    assert "config.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_of_a_plugin_that_is_not_installed_is_taken_with_a_warning(machine: Any) -> None:
    machine.install("acme-thv-secrets", STORE)
    done = machine.thv("config", "set", "plugins.acm.path", "/x")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == ("plugins.acm.path is now /x\nno installed plugin is named acm; did you mean acme?\n")
    assert machine.thv("config", "set", "plugins.acme.path", "/x").stderr == "plugins.acme.path is now /x\n"


@pytest.mark.parametrize("word", ["acme", "secrets:acme", "acme-thv-secrets", "Acme_thv-Secrets"])
def test_disabling_what_is_installed_is_no_reason_to_warn(machine: Any, word: str) -> None:
    machine.install("acme-thv-secrets", STORE)
    assert machine.thv("config", "set", "disabled", word).stderr == f"disabled is now {word}\n"


def test_disabling_what_is_not_installed_is_taken_with_a_warning_for_each_name(machine: Any) -> None:
    machine.install("acme-thv-secrets", STORE)
    done = machine.thv("config", "set", "disabled", "acme,secrets:acmee,qqq")
    assert done.returncode == 0
    assert done.stderr.splitlines()[1:] == [
        "no installed plugin is named secrets:acmee; did you mean acme?",
        "no installed plugin is named qqq",
    ]


def test_a_value_may_begin_with_a_dash(machine: Any) -> None:
    assert machine.thv("config", "set", "plugins.vault.offset", "-1").returncode == 0
    assert machine.thv("config", "get", "plugins.vault.offset").stdout == "-1\n"
    done = machine.thv("config", "set", "request_timeout", "-1")
    assert done.returncode == 2
    assert "request_timeout must be more than 0" in done.stderr


def test_a_number_that_is_none_is_refused_with_an_example(machine: Any) -> None:
    done = machine.thv("config", "set", "request_timeout", "nan")
    assert done.returncode == 2
    assert done.stderr == (
        "error: request_timeout cannot be 'nan': it is a number of seconds\n  thv config set request_timeout 300\n"
    )


# What a plugin says of a setting before it is written ----------------------------------------------------------------

PICKY = """
from pathlib import Path
from thv_core.errors import SettingsError
from thv_core.spi.secrets import SecretStore


class Store(SecretStore):
    def __init__(self, *, url="", token="", tuning=None):
        if token and not url:
            raise SettingsError("url is needed with a token")
        if url and not str(url).startswith("https://"):
            raise SettingsError(f"url is {url!r}, not https")
        if isinstance(tuning, dict) and tuning.get("depth", 1) < 1:
            raise SettingsError("tuning.depth is less than 1")

    def get(self, name):
        Path("asked").touch()

    def names(self):
        return []
"""


@pytest.fixture
def picky(machine: Any) -> Any:
    machine.install("acme-thv-secrets", STORE, acme_store=PICKY)
    return machine


def is_set(machine: Any, key: str) -> bool:
    return machine.thv("config", "get", key).returncode == 0


def test_a_value_that_its_plugin_takes_is_written_without_using_the_plugin(picky: Any) -> None:
    done = picky.thv("config", "set", "plugins.acme.url", "https://vault.example")
    assert (done.returncode, done.stderr) == (0, "plugins.acme.url is now https://vault.example\n")
    assert not (picky.home / "asked").exists()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("plugins.acme.url", "vault", "plugins.acme.url is 'vault', not https"),
        ("plugins.acme.ulr", "https://x", "plugins.acme.ulr is not a setting of Store"),
        ("plugins.acme.tuning.depth", "0", "plugins.acme.tuning.depth is less than 1"),
        ("plugins.acme.token", "t", "plugins.acme: url is needed with a token"),
    ],
)
def test_a_value_that_its_plugin_refuses_is_not_written(picky: Any, key: str, value: str, words: str) -> None:
    done = picky.thv("config", "set", key, value)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {words}")
    assert not is_set(picky, key)


def test_a_plugin_that_lacks_another_setting_takes_one_after_the_other(picky: Any) -> None:
    file = picky.home / ".config" / "thv" / "config.yaml"
    file.parent.mkdir(parents=True, mode=0o700)
    file.write_text("plugins:\n  acme:\n    token: t\n")
    done = picky.thv("config", "set", "plugins.acme.tuning.depth", "2")
    assert (done.returncode, done.stderr.splitlines()[1:]) == (
        0,
        ["acme cannot be used yet: plugins.acme: url is needed with a token"],
    )
    assert picky.thv("config", "set", "plugins.acme.url", "https://x").stderr.splitlines()[1:] == []


# Certificates and metrics --------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(machine: Any) -> str:
    import trustme

    trustme.CA().cert_pem.write_to_path(machine.home / "ca.pem")
    return str(machine.home / "ca.pem")


def test_certificates_are_set_printed_and_unset(machine: Any, certificate: str) -> None:
    none = machine.thv("config", "get-ca-cert")
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "No CA certificate is currently configured.\n"
    done = machine.thv("config", "set-ca-cert", "ca.pem")
    assert (done.returncode, done.stderr) == (0, f"Successfully set CA certificate path: {certificate}\n")
    assert machine.thv("config", "get-ca-cert").stdout == f"{certificate}\n"
    assert machine.thv("config", "unset-ca-cert").returncode == 0
    assert machine.thv("config", "get-ca-cert").stdout == ""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("none.pem", "cannot be read"),
        (".", "cannot be read"),
        ("text", "holds no certificate"),
        ("~no-such-user-of-thv/x", "no such home"),
    ],
)
def test_what_holds_no_certificate_is_refused(machine: Any, path: str, words: str) -> None:
    (machine.home / "text").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    done = machine.thv("config", "set-ca-cert", path)
    assert done.returncode == 2
    assert words in done.stderr
    assert machine.thv("config", "get-ca-cert").stdout == ""


def test_there_are_no_usage_metrics_to_enable_and_none_to_disable(machine: Any) -> None:
    disabled = machine.thv("config", "usage-metrics", "disable")
    assert (disabled.returncode, "nothing to disable" in disabled.stderr) == (0, True)
    enabled = machine.thv("config", "usage-metrics", "enable")
    assert (enabled.returncode, "nothing is collected" in enabled.stderr) == (1, True)
