"""A vendor's plugin, from another environment, while the processes run; then every way in which it can be broken."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.environments import Environment, renamed_template
from harness.home import Thv, wait_for
from harness.session import Session

SECRET = "the-vendor-keeps-this"


@dataclass
class Vendor:
    """A vendor's environment and plugin, and thv as it runs there."""

    environment: Environment
    folder: Path
    thv: Thv

    @property
    def module(self) -> Path:
        """The module that holds the store."""
        return self.folder / "src/acme_thv_secrets/store.py"

    def run(self, name: str) -> tuple[int, str]:
        """Run a server that needs the vendor's secret; return the exit code and what was said."""
        done = self.thv("run", "uvx://echo-mcp@1.0", "--name", name, "--secret", "github,target=TOKEN")
        return done.returncode, done.stderr


@pytest.fixture
def vendor(other_environment: Environment, thv: Thv, wheels: Path, tmp_path: Path) -> Iterator[Vendor]:
    """The renamed copy of the template, installed for development in the other environment, and chosen there."""
    folder = renamed_template(tmp_path / "acme-secrets", "acme")
    other_environment.install("-e", str(folder))
    yield Vendor(other_environment, folder, Thv(thv.home, wheels, other_environment.scripts))
    other_environment.uninstall("acme-thv-secrets")


@pytest.fixture
def witness(thv: Thv) -> Session:
    """A session with a server that was started from this environment."""
    return Session(thv.ok("run", "uvx://echo-mcp@1.0", "--name", "witness").strip())


@pytest.fixture
def chosen(vendor: Vendor) -> Vendor:
    """The vendor's store, chosen and holding a secret."""
    vendor.thv.ok("config", "set", "secrets.provider", "acme")
    vendor.thv.ok("config", "set", "plugins.acme.path", str(vendor.folder / "kept.json"))
    keep = f"""
from pathlib import Path
from acme_thv_secrets import JsonFileStore
JsonFileStore(Path({str(vendor.folder / "kept.json")!r})).set("github", {SECRET!r})
"""
    done = vendor.environment.run("-c", keep)
    assert done.returncode == 0, done.stderr
    return vendor


def test_a_vendors_store_is_listed_chosen_and_used_while_everything_goes_on(witness: Session, chosen: Vendor) -> None:
    pid = chosen.thv.view("witness")["pid"]
    listed = json.loads(chosen.thv.ok("plugins", "list", "--format", "json"))
    (acme,) = [plugin for plugin in listed if plugin["name"] == "acme"]
    assert (acme["distribution"], acme["status"], bool(acme["chosen"])) == ("acme-thv-secrets", "ready", True)
    code, said = chosen.run("second")
    assert code == 0, said
    assert SECRET in chosen.thv.ok("mcp", "call", "second", "environment", "--arg", "name=TOKEN")
    assert chosen.thv.view("witness")["pid"] == pid
    assert wait_for(witness.count)["count"] == 1


def test_another_environment_takes_over_and_says_so(witness: Session, vendor: Vendor) -> None:
    said = vendor.thv("list").stderr
    assert "another environment takes over" in said
    assert vendor.environment.python in said
    assert "takes over" not in vendor.thv("list").stderr


def test_the_conformance_test_of_the_copy_passes(vendor: Vendor) -> None:
    done = vendor.environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=str(vendor.folder))
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_a_broken_import_stops_only_what_needs_it_and_names_the_distribution(witness: Session, chosen: Vendor) -> None:
    assert chosen.run("second")[0] == 0
    chosen.module.write_text("import a_module_that_is_not_there\n")
    code, said = chosen.run("third")
    assert code == 1
    assert "acme-thv-secrets" in said
    assert "a_module_that_is_not_there" in said
    assert "Traceback" not in said
    assert wait_for(witness.count)["count"] == 1
    assert {view["name"] for view in json.loads(chosen.thv.ok("list", "--format", "json"))} == {"second", "witness"}
    assert chosen.thv("run", "uvx://echo-mcp@1.0", "--name", "fourth").returncode == 0


def test_a_wrong_signature_is_named_by_plugins_check_and_refused(witness: Session, chosen: Vendor) -> None:
    broken = chosen.module.read_text().replace("def get(self, name: str)", "def fetch(self, name: str)")
    chosen.module.write_text(broken)
    code, said = chosen.run("second")
    assert (code, "acme-thv-secrets" in said, "get" in said) == (1, True, True)
    checked = chosen.thv("plugins", "check")
    assert checked.returncode == 1
    assert "acme-thv-secrets" in checked.stdout + checked.stderr
    assert wait_for(witness.count)["count"] == 1


def test_a_hijacked_name_is_refused_and_both_distributions_are_named(witness: Session, chosen: Vendor) -> None:
    rival = renamed_template(chosen.folder.parent / "rival", "rival")
    project = rival / "pyproject.toml"
    project.write_text(project.read_text().replace('\nrival = "', '\nacme = "'))
    chosen.environment.install("-e", str(rival))
    try:
        code, said = chosen.run("second")
        assert code == 1
        assert "acme-thv-secrets" in said
        assert "rival-thv-secrets" in said
        assert wait_for(witness.count)["count"] == 1
        chosen.thv.ok("config", "set", "disabled", "rival-thv-secrets")
        assert chosen.run("second")[0] == 0
    finally:
        chosen.environment.uninstall("rival-thv-secrets")
        shutil.rmtree(rival)


def test_a_plugin_for_another_core_is_never_imported(witness: Session, chosen: Vendor) -> None:
    project = chosen.folder / "pyproject.toml"
    project.write_text(project.read_text().replace("thv-core>=0.1,<0.2", "thv-core>=9,<10"))
    sentinel = chosen.folder / "imported"
    chosen.module.write_text(f"open({str(sentinel)!r}, 'w')\n{chosen.module.read_text()}")
    chosen.environment.install("-e", str(chosen.folder), dependencies=False)
    code, said = chosen.run("second")
    assert code == 1
    assert "acme-thv-secrets" in said
    assert "thv-core" in said
    assert not sentinel.exists()
    assert wait_for(witness.count)["count"] == 1
