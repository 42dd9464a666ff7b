"""``thv plugins``."""

from __future__ import annotations

import json
from typing import Any

STORE = """
from thv_core.spi import SecretStore

class Store(SecretStore):
    def get(self, name):
        return name

    def names(self):
        return []
"""
HOOKS = """
from thv_core.spi import hookimpl

@hookimpl
def thv_middleware():
    return []
"""
ENTRY = "[thv.secrets]\nacme = acme_store:Store\n"


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[1]: line.split() for line in text.splitlines()}


def test_the_list_shows_where_each_plugin_comes_from_and_which_are_chosen(machine: Any) -> None:
    machine.install("acme-thv-secrets", ENTRY, acme_store="raise RuntimeError('imported')\n")
    machine.thv("config", "set", "secrets.provider", "acme")
    done = machine.thv("plugins", "list")
    table = rows(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert table["NAME"] == ["KIND", "NAME", "DISTRIBUTION", "VERSION", "STATUS", "CHOSEN"]
    assert table["acme"] == ["secrets", "acme", "acme-thv-secrets", "1.4.0", "ready", "yes"]
    assert table["sandbox"] == ["runtime", "sandbox", "thv-sandbox", "0.1.0", "ready", "yes"]
    assert table["http"][-1] == "yes"
    assert table["environment"][-1] == "ready"


def test_the_list_says_why_a_plugin_is_refused(machine: Any) -> None:
    machine.install("acme-old", ENTRY, requires="thv-core<0.1")
    text = machine.thv("plugins", "list").stdout
    assert "incompatible: it requires thv-core<0.1" in text
    found = json.loads(machine.thv("plugins", "list", "--format", "json").stdout)
    assert [each for each in found if each["distribution"] == "acme-old"] == [
        {
            "kind": "secrets",
            "name": "acme",
            "distribution": "acme-old",
            "version": "1.4.0",
            "status": "incompatible",
            "reason": found[[each["distribution"] for each in found].index("acme-old")]["reason"],
            "chosen": False,
        }
    ]


def test_a_sound_plugin_passes_the_check(machine: Any) -> None:
    machine.install("acme-thv-secrets", ENTRY, acme_store=STORE)
    done = machine.thv("plugins", "check", "--format", "json")
    assert [each for each in json.loads(done.stdout) if each["distribution"] == "acme-thv-secrets"] == []
    assert "plugins checked" in done.stderr


def test_the_check_finds_a_plugin_that_cannot_be_imported_and_fails(machine: Any) -> None:
    machine.install("acme-thv-secrets", ENTRY, acme_store="raise RuntimeError('no key')\n")
    done = machine.thv("plugins", "check")
    finding = next(line for line in done.stdout.splitlines() if "acme-thv-secrets" in line)
    assert done.returncode == 1
    assert finding.startswith("problem ")
    assert "no key" in finding
    assert "Traceback" not in done.stderr


def test_the_check_finds_a_broken_command(machine: Any) -> None:
    machine.command("greet", "raise RuntimeError('no greeting')\n")
    done = machine.thv("plugins", "check")
    assert done.returncode == 1
    assert "no greeting" in done.stdout


def test_what_is_disabled_is_not_broken(machine: Any) -> None:
    machine.install("acme-thv-secrets", ENTRY, acme_store="raise RuntimeError('no key')\n")
    machine.thv("config", "set", "disabled", "acme-thv-secrets")
    done = machine.thv("plugins", "check")
    assert (done.returncode, "no key" in done.stdout) == (0, False)
    assert "disabled: it is listed in disabled" in machine.thv("plugins", "list").stdout


def test_a_hook_is_listed_with_who_contributes_to_it(machine: Any) -> None:
    machine.install("acme-hooks", "[thv.hooks]\nguard = acme_hooks\n", acme_hooks=HOOKS)
    done = machine.thv("plugins", "hooks")
    assert done.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["HOOK"] == "PLUGINS"
    assert "acme-hooks/guard" in lines["thv_middleware"]
    assert "acme-hooks/guard" not in lines["thv_observers"]
    document = json.loads(machine.thv("plugins", "hooks", "--format", "json").stdout)
    assert "acme-hooks/guard" in document["thv_middleware"]


def test_hooks_that_cannot_be_imported_are_left_out_and_named(machine: Any) -> None:
    machine.install("acme-hooks", "[thv.hooks]\nguard = acme_hooks\n", acme_hooks="raise RuntimeError('no')\n")
    done = machine.thv("plugins", "hooks")
    assert done.returncode == 0
    assert "acme-hooks/guard is left out: " in done.stderr


def test_a_chosen_plugin_that_is_not_installed_any_more_fails_the_check(machine: Any) -> None:
    settings = machine.home / ".config" / "thv" / "config.yaml"
    settings.parent.mkdir(parents=True, mode=0o700)
    settings.write_text("secrets: {provider: gone}\n")
    done = machine.thv("plugins", "check")
    finding = next(line for line in done.stdout.splitlines() if "gone" in line)
    assert done.returncode == 1
    assert finding.startswith("problem ")
    assert finding.endswith("thv config unset secrets.provider")


def test_a_chosen_plugin_that_is_disabled_fails_the_check(machine: Any) -> None:
    machine.thv("config", "set", "disabled", "runtime:sandbox")
    done = machine.thv("plugins", "check")
    assert done.returncode == 1
    assert "runtime chooses it: the runtime 'sandbox' of thv-sandbox 0.1.0 is refused" in done.stdout
