"""What ``thv --help`` may import, so that nobody waits for a word of help."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

ALLOWED = (
    "click",
    "thv_cli",
    "thv_core",
    "thv_core.errors",
    "thv_core.loading",
    "thv_core.loading.catalog",
    "thv_core.loading.compatibility",
    "thv_core.loading.blame",
    "thv_core.loading.commands",
    "thv_core.loading.first_party",
    "thv_core.loading.footprint",
    "thv_core.loading.kinds",
    "thv_core.loading.metadata",
    "thv_core.state",
    "thv_core.state.paths",
)
"""Modules outside the standard library; of ``click`` and ``thv_cli`` also those below them."""

WHOLE = ("click", "thv_cli")

FORBIDDEN = {
    *("asyncio", "concurrent.futures", "email", "hashlib", "http.client", "importlib.metadata", "json", "logging"),
    *("mcp", "msgspec", "multiprocessing", "packaging", "pluggy", "ruamel", "sqlite3", "ssl", "litestar"),
    *("stevedore", "subprocess", "thv_core.kernel", "thv_core.model", "thv_core.spi", "unittest", "uvicorn"),
}
"""Modules that are slow, from the standard library or not."""

PROGRAM = """
import json, sys
before = set(sys.modules)
sys.argv = ["thv", *sys.argv[1:]]
from thv_cli.main import main
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
sys.stderr.write(" ".join(sorted(set(sys.modules) - before)))
"""


def imported(machine: Any, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=machine.variables({}),
        cwd=machine.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def allowed(module: str) -> bool:
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top in WHOLE or module in ALLOWED


@pytest.mark.parametrize("arguments", [("--help",), ()])
def test_help_imports_what_is_on_the_list_and_nothing_else(machine: Any, arguments: tuple[str, ...]) -> None:
    modules = imported(machine, *arguments)
    assert {module for module in modules if not allowed(module)} == set()
    assert modules & FORBIDDEN == set()
    assert "thv_core.loading.catalog" in modules


def test_help_imports_no_command_of_any_distribution(machine: Any) -> None:
    machine.command("greet", '"""A vendor."""\nimport click\n\n@click.command()\ndef greet(): "Say hello."\n')
    modules = imported(machine, "--help")
    assert {module for module in modules if "commands." in module or module.startswith("acme")} == set()


def test_settings_that_disable_nothing_are_not_even_parsed(machine: Any) -> None:
    settings = machine.home / ".config" / "thv" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("runtime: sandbox\n")
    assert imported(machine, "--help") & FORBIDDEN == set()


def test_a_command_imports_itself_and_no_other_command(machine: Any) -> None:
    modules = {module for module in imported(machine, "version") if module.startswith("thv_cli.commands.")}
    assert modules == {"thv_cli.commands.version"}


def test_listing_plugins_imports_none_of_them(machine: Any) -> None:
    found = json.loads(machine.thv("plugins", "list", "--format", "json").stdout)
    packages = {plugin["distribution"].replace("-", "_") for plugin in found} - {"thv_cli"}
    modules = imported(machine, "plugins", "list")
    assert "thv_sandbox" in packages
    assert {module for module in modules if module.partition(".")[0] in packages} == set()
    assert modules & {"stevedore", "pluggy", "packaging"} == set()
