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
    assert machine.thv("config", "set", "plugins.environment.offset", "-1").returncode == 0
    assert machine.thv("config", "get", "plugins.environment.offset").stdout == "-1\n"
    done = machine.thv("config", "set", "request_timeout", "-1")
    assert done.returncode == 2
    assert "request_timeout must be more than 0" in done.stderr


def test_a_number_that_is_none_is_refused_with_an_example(machine: Any) -> None:
    done = machine.thv("config", "set", "request_timeout", "nan")
    assert done.returncode == 2
    assert done.stderr == (
        "error: request_timeout cannot be 'nan': it is a number of seconds\n  thv config set request_timeout 300\n"
    )
