"""The repository agrees with itself: every list of folders names the same folders, every version is one version."""

from __future__ import annotations

import ast
import configparser
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

TOP_LEVEL = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "contrib",
    "core",
    "docs",
    "plugins",
    "pyproject.toml",
    "tests",
    "tox.ini",
}
COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox -qe tour",
    ".venv/bin/tox",
)
ENVIRONMENTS = ["tests", "lint", "types", "arch", "docs"]
TESTING_ONLY = {"thv-testkit", "example-thv-secrets"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "base", "common", "misc", "manager"}
PUBLIC_LAYERS = {"errors", "model", "spi"}
INITS_WITH_CONTENT = {
    "thv_core": "the version",
    "thv_core.spi": "the one public import path",
    "example_thv_secrets": "a vendor's plugin may be one module",
}


@pytest.fixture(scope="module")
def tox_ini(root: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(root / "tox.ini", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def packages(distributions) -> set[str]:
    return {each.package for each in distributions}


@pytest.fixture(scope="module")
def core_modules(root: Path) -> set[str]:
    return {
        path.stem
        for path in (root / "core/src/thv_core").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"
    }


@pytest.fixture(scope="module")
def contracts(root_metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in root_metadata["tool"]["importlinter"]["contracts"]}


# Folders -------------------------------------------------------------------------------------------------------------


def test_the_top_level_holds_what_it_should_and_nothing_else(root: Path, committed_files: tuple[Path, ...]) -> None:
    names = {path.relative_to(root).parts[0] for path in committed_files}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_every_folder_of_plugins_and_contrib_is_one_typed_package(root: Path, distributions) -> None:
    folders = [child for group in ("plugins", "contrib") for child in (root / group).iterdir() if child.is_dir()]
    assert {each.folder for each in distributions} == {root / "core", *folders}
    for each in distributions:
        assert [child.name for child in (each.folder / "src").iterdir() if child.name != "__pycache__"] == [
            each.package
        ]
        assert (each.folder / "src" / each.package / "py.typed").is_file(), each.path
        assert each.metadata["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{each.package}"]


def test_every_distribution_has_tests_and_no_tests_folder_is_a_package(root: Path, distributions) -> None:
    for folder in (root, *(each.folder for each in distributions)):
        assert list((folder / "tests").rglob("test_*.py")), f"{folder.relative_to(root)} has no tests"
        assert not (folder / "tests/__init__.py").exists()


def test_tox_installs_every_distribution_and_only_those(tox_ini: configparser.ConfigParser, distributions) -> None:
    product, development = _editable(tox_ini, "product"), _editable(tox_ini, "development")
    everything = {f"./{each.path}" for each in distributions} | {"."}
    assert product | development == everything
    assert development == {f"./{each.path}" for each in distributions if each.name in TESTING_ONLY}


def test_the_environments_of_tox_are_those_that_the_documents_name(tox_ini: configparser.ConfigParser) -> None:
    assert [word.strip() for word in tox_ini["tox"]["env_list"].split(",")] == ENVIRONMENTS
    assert {"testenv:tour", "testenv:thv", *(f"testenv:{name}" for name in ENVIRONMENTS)} <= set(tox_ini.sections())


def _editable(tox_ini: configparser.ConfigParser, key: str) -> set[str]:
    return set(re.findall(r"^-e (\S+)$", tox_ini["distributions"][key], flags=re.MULTILINE))


def test_the_workspace_of_uv_has_every_distribution(root: Path, root_metadata: dict[str, Any], distributions) -> None:
    uv = root_metadata["tool"]["uv"]
    assert _expanded(root, uv["workspace"]["members"]) == {each.path for each in distributions}
    assert uv["sources"] == {each.name: {"workspace": True} for each in distributions}


def test_the_checkers_read_every_source_folder(root: Path, root_metadata: dict[str, Any], distributions) -> None:
    folders = {f"{each.path}/src" for each in distributions}
    tool = root_metadata["tool"]
    assert tool["pyright"]["include"] == sorted(folders)
    assert _expanded(root, tool["mypy"]["files"]) == folders
    assert _expanded(root, tool["ruff"]["src"]) == folders


def _expanded(root: Path, patterns: Iterable[str]) -> set[str]:
    found = [path for pattern in patterns for path in root.glob(pattern)]
    return {path.relative_to(root).as_posix() for path in found if path.is_dir()}


# Import contracts ----------------------------------------------------------------------------------------------------


def test_the_import_linter_knows_every_package(root_metadata: dict[str, Any], packages: set[str]) -> None:
    assert root_metadata["tool"]["importlinter"]["root_packages"] == sorted(packages)


def test_the_layers_are_the_modules_of_the_core(contracts: dict[str, Any], core_modules: set[str]) -> None:
    layers = contracts["The layers of the core"]["layers"]
    assert {name.strip() for layer in layers for name in layer.split("|")} == core_modules


def test_every_plugin_is_a_stranger_to_the_core_and_to_the_others(
    contracts: dict[str, Any], packages: set[str]
) -> None:
    plugins = packages - {"thv_core"}
    assert set(contracts["The core knows no plugin"]["forbidden_modules"]) == plugins
    assert set(contracts["Plugins are strangers to each other"]["modules"]) == plugins - {"thv_testkit"}


def test_every_driver_is_held_to_the_public_contract(
    contracts: dict[str, Any], core_modules: set[str], distributions
) -> None:
    contract = contracts["Drivers import the public contract only"]
    drivers = {each.package for each in distributions if _offers_drivers(each.metadata)}
    assert set(contract["source_modules"]) == drivers | {"thv_testkit"}
    assert set(contract["forbidden_modules"]) == {f"thv_core.{name}" for name in core_modules - PUBLIC_LAYERS}


def _offers_drivers(metadata: dict[str, Any]) -> bool:
    groups = metadata["project"].get("entry-points", {})
    return any(group.startswith("thv.") and group != "thv.commands" for group in groups)


@pytest.mark.parametrize("library", ["stevedore", "pluggy"])
def test_the_loaders_are_forbidden_everywhere_but_in_loading(
    library: str, contracts: dict[str, Any], core_modules: set[str], packages: set[str]
) -> None:
    contract = next(each for each in contracts.values() if each.get("forbidden_modules") == [library])
    elsewhere = packages - {"thv_core"} | {f"thv_core.{name}" for name in core_modules - {"loading"}}
    assert set(contract["source_modules"]) == elsewhere


# Metadata ------------------------------------------------------------------------------------------------------------


def test_all_versions_are_one(root: Path, root_metadata: dict[str, Any], distributions) -> None:
    version = root_metadata["project"]["version"]
    assert {each.name: each.metadata["project"]["version"] for each in distributions} == {
        each.name: version for each in distributions
    }
    assert f'__version__ = "{version}"' in (root / "core/src/thv_core/__init__.py").read_text(encoding="utf-8")
    assert f"## [{version}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_distribution_bounds_the_core(root_metadata: dict[str, Any], distributions) -> None:
    bound = _bound(root_metadata["project"]["version"])
    for each in distributions:
        if each.name != "thv-core":
            assert f"thv-core{bound}" in each.metadata["project"]["dependencies"], each.path


def test_the_meta_distribution_is_the_product_without_what_only_tests_need(
    root_metadata: dict[str, Any], distributions
) -> None:
    bound = _bound(root_metadata["project"]["version"])
    product = [each.name for each in distributions if each.name not in TESTING_ONLY]
    assert root_metadata["project"]["dependencies"] == sorted(f"{name}{bound}" for name in product)


def _bound(version: str) -> str:
    major, minor, *_ = map(int, version.split("."))
    return f">={major}.{minor},<{major}.{minor + 1}"


def test_every_distribution_is_built_and_licensed_alike(root_metadata: dict[str, Any], distributions) -> None:
    for each in distributions:
        assert each.metadata["build-system"] == root_metadata["build-system"], each.path
        for key in ("license", "requires-python"):
            assert each.metadata["project"][key] == root_metadata["project"][key], each.path
        assert set(each.metadata) <= {"build-system", "project", "tool"}
        assert set(each.metadata["tool"]) == {"hatch"}, f"{each.path}: shared tool settings belong to the root"


# Sources -------------------------------------------------------------------------------------------------------------


def product_modules(distributions) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the path of every module of every distribution."""
    for each in distributions:
        for path in sorted((each.folder / "src").rglob("*.py")):
            parts = path.relative_to(each.folder / "src").with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), path


def test_every_package_says_in_its_init_what_belongs_there_and_holds_no_logic(distributions) -> None:
    for name, path in product_modules(distributions):
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            docstring = ast.get_docstring(tree) or ""
            assert len(docstring.split()) >= 5, f"{name} does not say what belongs there"
            assert len(tree.body) == 1 or name in INITS_WITH_CONTENT, f"{name} holds more than its docstring"


def test_every_folder_with_modules_is_a_package(distributions) -> None:
    for name, path in product_modules(distributions):
        assert (path.parent / "__init__.py").is_file(), f"{name} lies outside of a package"


def test_no_module_has_a_name_that_says_nothing(distributions) -> None:
    names = [name for name, _ in product_modules(distributions)]
    assert vague_names(names) == []


def vague_names(names: Iterable[str]) -> list[str]:
    """Return the dotted names of which a part says nothing."""
    return [name for name in names if set(re.split(r"[._]", name)) & FORBIDDEN_NAMES]


def test_vague_names_are_found_in_any_part_of_a_dotted_name() -> None:
    assert vague_names(["thv_x.utils", "thv_x.http_helpers", "thv_x.common.plan"]) == [
        "thv_x.utils",
        "thv_x.http_helpers",
        "thv_x.common.plan",
    ]
    assert vague_names(["thv_x.database", "thv_x.plan"]) == []


_SILENCED = re.compile(r"(type:\s*ignore|noqa|pyright:\s*ignore|ruff:|mypy:|pragma:\s*no)")
_CODES = r"type: ignore\[[\w,-]+\]|pyright: ignore\[\w+(, \w+)*\]|(?:ruff: )?noqa: [A-Z]+\d+(, [A-Z]+\d+)*"
_EXCUSED = re.compile(rf"#\s*({_CODES})\s*[#-]+\s*\S+\s\S+")


def unexcused(source: str) -> list[str]:
    """Return the comments that silence a checker without a code and a reason of at least two words."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return [each for each in comments if _SILENCED.search(each) and not _EXCUSED.search(each)]


def test_no_checker_is_silenced_without_a_code_and_a_reason(root: Path, committed_files: tuple[Path, ...]) -> None:
    found = {
        path.relative_to(root).as_posix(): unexcused(path.read_text(encoding="utf-8"))
        for path in committed_files
        if path.suffix == ".py"
    }
    assert {name: comments for name, comments in found.items() if comments} == {}


@pytest.mark.parametrize(
    "comment",
    ["# type: ignore", "# noqa", "# noqa: S101", "# type: ignore[arg-type]", "# pyright: ignore", "# pragma: no cover"],
)
def test_a_bare_silencing_is_found(comment: str) -> None:
    assert unexcused(f"one = 1  {comment}\n") == [comment]


@pytest.mark.parametrize(
    "comment",
    [
        "# noqa: B024 - each contract adds its own abstract methods",
        "# ruff: noqa: D102 - the name of a test is its sentence",
        "# type: ignore[arg-type]  # the stub is wrong here",
        "# pyright: ignore[reportPrivateUsage]  # no public name exists",
        "# an ordinary comment",
    ],
)
def test_a_silencing_with_code_and_reason_is_accepted(comment: str) -> None:
    assert unexcused(f"one = 1  {comment}\n") == []


# Committed text ------------------------------------------------------------------------------------------------------

_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("deb", "debian", "org"),
        ("proxy", "golang", "org"),
    )
]
_HOME = re.compile(r"(?<![\w.~*/:-])/(?:root/\w|work/\w|(?:home|Users)/(?!(?:ada|mcp|me|user|you)\b)\w)")


def machine_traces(text: str) -> list[str]:
    """Return the hosts of package registries and the absolute home paths that a text names."""
    return [host for host in _HOSTS if host in text] + [match.group() for match in _HOME.finditer(text)]


def test_no_committed_text_names_a_registry_host_or_somebodys_home(
    root: Path, committed_files: tuple[Path, ...]
) -> None:
    found = {
        path.relative_to(root).as_posix(): machine_traces(path.read_text(encoding="utf-8", errors="ignore"))
        for path in committed_files
    }
    assert {name: traces for name, traces in found.items() if traces} == {}


def test_traces_of_a_machine_are_found_and_neutral_examples_are_not() -> None:
    host = ".".join(("pypi", "org"))
    assert machine_traces(f"see https://{host}/simple") == [host]
    assert machine_traces("open " + "/ro" + "ot/x") == ["/ro" + "ot/x"]
    assert machine_traces("open " + "/ho" + "me/jane/x") == ["/ho" + "me/j"]
    assert machine_traces("/home/me/notes, ~/notes, /usr/share/work/x, ./root/x") == []


# The two commands ----------------------------------------------------------------------------------------------------


def test_the_readme_gives_the_two_commands_and_ci_runs_exactly_those(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert tuple(block.strip() for block in blocks[:2]) == COMMANDS
    script = (root / ".ci/run").read_text(encoding="utf-8").splitlines()
    for command in COMMANDS:
        assert [line for line in script if line.startswith(command)], f".ci/run does not run: {command}"


# The watch over silent suites ----------------------------------------------------------------------------------------


@pytest.fixture
def small_tree(root: Path, tmp_path: Path) -> Path:
    """A tree with this conftest and three suites, of which that of the plugin is empty."""
    for suite in ("core", "plugins/one"):
        (tmp_path / suite / "tests").mkdir(parents=True)
        (tmp_path / suite / "pyproject.toml").touch()
    (tmp_path / "contrib").mkdir()
    (tmp_path / "tests").mkdir()
    shutil.copy(root / "tests/conftest.py", tmp_path / "tests")
    for suite in ("core", "."):
        (tmp_path / suite / "tests/test_a.py").write_text("def test_a():\n    pass\n", encoding="utf-8")
    options = "[pytest]\naddopts = --import-mode=importlib\ntestpaths = core/tests plugins contrib tests\n"
    (tmp_path / "pytest.ini").write_text(options, encoding="utf-8")
    return tmp_path


def run_tests(tree: Path, *arguments: str, ci: str = "true") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CI": ci, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_complete_run_fails_under_ci_when_a_suite_ran_no_test(small_tree: Path) -> None:
    silent = run_tests(small_tree)
    assert silent.returncode == 1
    assert "no test ran in plugins/one/tests" in silent.stdout
    (small_tree / "plugins/one/tests/test_b.py").write_text("def test_b():\n    pass\n", encoding="utf-8")
    assert run_tests(small_tree).returncode == 0


def test_a_skipped_test_has_not_run(small_tree: Path) -> None:
    skipping = "import pytest\n\n\ndef test_b():\n    pytest.skip()\n"
    (small_tree / "plugins/one/tests/test_b.py").write_text(skipping, encoding="utf-8")
    assert run_tests(small_tree).returncode == 1


def test_part_of_the_tests_may_be_run_by_hand(small_tree: Path) -> None:
    assert run_tests(small_tree, "core/tests").returncode == 0
    assert run_tests(small_tree, "-k", "test_a").returncode == 0
    assert run_tests(small_tree, ci="").returncode == 0
