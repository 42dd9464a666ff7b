from __future__ import annotations

import pytest

from thv_core.loading.checking import Choice, Severity, check

STORE = """
from thv_core.spi import SecretStore

class Store(SecretStore):
    def get(self, name):
        return ""

    def names(self):
        return []
"""

RUNTIME = """
from thv_core.spi import Probe, Runtime

class Sandbox(Runtime):
    def probe(self): return Probe(ready=True, detail="fine")
    def prepare(self, plan, report): ...
    def deploy(self, plan, connect): ...
    def stop(self, deployment, grace): ...
    def remove(self, deployment): ...
    def observe(self): ...
    def logs(self, deployment, *, tail=None, follow=False): ...
"""


def findings(site) -> list[tuple[str, str, str]]:
    return [(each.plugin.name, each.severity, each.text) for each in check(site.scan(), site.drivers())]


def problems_of(site, source: str, group: str = "thv.secrets", attribute: str = "Store") -> list[str]:
    site.add("acme", {group: {"it": f"acme_it:{attribute}"}}, {"acme_it": source})
    found = findings(site)
    assert all(severity == Severity.PROBLEM for _, severity, _ in found)
    return [text for _, _, text in found]


@pytest.mark.parametrize(
    ("group", "attribute", "source"),
    [
        ("thv.secrets", "Store", STORE),
        ("thv.runtimes", "Sandbox", RUNTIME),
        ("thv.commands", "it", "import click\n\n@click.command\ndef it(): ..."),
        ("thv.hooks", "", "from thv_core.spi import hookimpl\n\n@hookimpl\ndef thv_middleware(): return []"),
    ],
)
def test_a_good_plugin_is_no_finding(site, group: str, attribute: str, source: str) -> None:
    value = f"acme_it:{attribute}" if attribute else "acme_it"
    site.add("acme", {group: {"it": value}}, {"acme_it": source})
    assert findings(site) == []
    assert site.traces() == ["acme_it"]


def test_what_the_catalog_refuses_is_a_problem_and_is_not_imported(site) -> None:
    site.add("acme", {"thv.secrets": {"it": "acme_it:Store"}}, {"acme_it": STORE}, ["thv-core>=9"])
    ((_, severity, text),) = findings(site)
    assert severity is Severity.PROBLEM
    assert text.startswith("incompatible: it requires thv-core>=9")
    assert site.traces() == []


def test_a_missing_upper_bound_is_a_note(site) -> None:
    site.add("acme", {"thv.secrets": {"it": "acme_it:Store"}}, {"acme_it": STORE}, ["thv-core>=0.1"])
    assert findings(site) == [("it", Severity.NOTE, "its requirement on thv-core has no upper bound")]


BROKEN = {
    "an import that fails": ("import nothing_of_that_name", "No module named"),
    "a wrong class": ("class Store: ...", "is Store, which is not a SecretStore"),
    "a missing method": (STORE.replace("def names", "def other"), "it lacks names"),
    "a renamed parameter": (STORE.replace("self, name", "self, key"), "get: it calls key what the contract calls name"),
    "too few parameters": (STORE.replace("self, name", "self"), "get: it does not take name"),
    "too many parameters": (
        STORE.replace("self, name", "self, name, namespace"),
        "get: it requires namespace, which the contract does not have",
    ),
    "a required keyword": (
        STORE.replace("self, name", "self, name, *, namespace"),
        "get: it requires namespace, which the contract does not have",
    ),
    "an async method": (STORE.replace("def get", "async def get"), "get is async, unlike its contract"),
    "a method that is none": (STORE + "    set = 3\n", "set is not a method"),
    "a constructor that raises": (
        STORE + "    @classmethod\n    def from_settings(cls, settings, surroundings):\n        raise OSError('no')\n",
        "could not be constructed: OSError: no",
    ),
    "a setting that is missing": (
        STORE + "    def __init__(self, address): ...\n",
        "plugins.it: the settings of Store do not suffice: missing a required argument: 'address'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_driver_that_does_not_fulfil_its_contract_is_a_problem(site, case: str) -> None:
    source, reason = BROKEN[case]
    (text,) = problems_of(site, source)
    assert reason in text


WELCOME = ["self, *args", "self, name, *, more=1", "self, name, more=1", "self, name, **more", "self, name, /"]


@pytest.mark.parametrize("signature", WELCOME)
def test_whatever_takes_the_calls_of_the_contract_is_welcome(site, signature: str) -> None:
    assert problems_of(site, STORE.replace("self, name", signature)) == []


def test_a_missing_keyword_is_a_problem(site) -> None:
    source = RUNTIME.replace("*, tail=None, follow=False", "*, tail=None")
    assert problems_of(site, source, "thv.runtimes", "Sandbox") == ["logs: it does not take follow"]


@pytest.mark.parametrize("signature", ["tail=None, follow=False", "**options", "tail=1, **more"])
def test_keywords_may_be_taken_in_any_way(site, signature: str) -> None:
    source = RUNTIME.replace("*, tail=None, follow=False", signature)
    assert problems_of(site, source, "thv.runtimes", "Sandbox") == []


def test_what_the_contract_makes_optional_must_not_be_required(site) -> None:
    source = RUNTIME.replace("*, tail=None, follow=False", "*, tail, follow=False")
    assert problems_of(site, source, "thv.runtimes", "Sandbox") == [
        "logs: it requires tail, which the contract does not"
    ]


def test_a_command_that_is_none_is_a_problem(site) -> None:
    assert problems_of(site, "def it(): ...", "thv.commands", "it") == ["it is not a Command"]


def test_a_failing_hook_is_a_problem(site) -> None:
    source = "from thv_core.spi import hookimpl\n\n@hookimpl\ndef thv_middleware(): raise OSError('no')"
    site.add("acme", {"thv.hooks": {"it": "acme_it"}}, {"acme_it": source})
    assert findings(site) == [("it", Severity.PROBLEM, "thv_middleware: OSError: no")]


def test_a_contract_that_is_not_installed_is_a_problem(site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "click", None)
    (text,) = problems_of(site, "it = 1", "thv.commands", "it")
    assert text.startswith("its contract cannot be imported")


def choice_findings(site, *disabled: str, default: bool = False) -> list[tuple[str, str]]:
    choices = [Choice("secrets.provider", "secrets", "it", default)]
    return [
        (each.severity, each.text)
        for each in check(site.scan(disabled), site.drivers(disabled=disabled), choices)
        if "chooses it" in each.text
    ]


def test_a_chosen_plugin_that_is_there_is_no_finding(site) -> None:
    site.add("acme", {"thv.secrets": {"it": "acme_it:Store"}}, {"acme_it": STORE})
    assert choice_findings(site) == []


def test_a_chosen_plugin_that_is_not_installed_is_a_problem(site) -> None:
    assert choice_findings(site) == [
        (
            Severity.PROBLEM,
            "secrets.provider chooses it: no installed plugin offers the secrets 'it'"
            ": thv config unset secrets.provider",
        )
    ]


def test_a_missing_default_is_not_advised_to_be_unset(site) -> None:
    ((_, text),) = choice_findings(site, default=True)
    assert text.endswith(": thv plugins list shows what is installed.")


def test_a_chosen_plugin_that_is_disabled_is_a_problem(site) -> None:
    site.add("acme", {"thv.secrets": {"it": "acme_it:Store"}}, {"acme_it": STORE})
    ((severity, text),) = choice_findings(site, "acme")
    assert severity is Severity.PROBLEM
    assert "'it' of acme 1.0 is refused: thv config unset secrets.provider" in text
