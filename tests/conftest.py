"""What the repository-wide tests share: the tree, its distributions, and the watch over silent suites."""

from __future__ import annotations

import importlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("plugins", "contrib")


@dataclass(frozen=True)
class Distribution:
    """One installable folder of the workspace."""

    folder: Path
    metadata: dict[str, Any] = field(repr=False)

    @property
    def path(self) -> str:
        return self.folder.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        return self.metadata["project"]["name"]

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def root_metadata() -> dict[str, Any]:
    return read_toml(ROOT / "pyproject.toml")


@pytest.fixture(scope="session")
def distributions() -> tuple[Distribution, ...]:
    folders = [ROOT / "core", *(child for group in GROUPS for child in sorted((ROOT / group).iterdir()))]
    return tuple(
        Distribution(folder, read_toml(folder / "pyproject.toml"))
        for folder in folders
        if (folder / "pyproject.toml").is_file()
    )


@pytest.fixture(scope="session")
def committed_files() -> tuple[Path, ...]:
    """Every file of the tree that .gitignore does not exclude."""
    ignored = {
        line.strip().rstrip("/").removeprefix("*")
        for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    } | {".git"}
    return tuple(_walk(ROOT, ignored))


def _walk(folder: Path, ignored: set[str]) -> Iterator[Path]:
    for child in sorted(folder.iterdir()):
        if child.name in ignored or child.suffix in ignored or child.is_symlink():
            continue
        if child.is_dir():
            yield from _walk(child, ignored)
        else:
            yield child


# Documents and commands ----------------------------------------------------------------------------------------------

FENCE = re.compile(r"^(?:<!-- (?P<mark>.*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block, with the text of the comment right before it."""

    mark: str
    language: str
    body: str


@dataclass
class Page:
    """One Markdown document."""

    name: str
    text: str

    @cached_property
    def blocks(self) -> list[Block]:
        return [Block(each["mark"] or "", each["language"], each["body"]) for each in FENCE.finditer(self.text)]

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return FENCE.sub("", self.text)

    @cached_property
    def sections(self) -> dict[str, str]:
        """The prose below each heading, up to the next; headings without their backticks."""
        parts = re.split(r"^#+ +(.*?) *$", self.prose, flags=re.MULTILINE)
        return {heading.replace("`", ""): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.fixture(scope="session")
def page_of() -> Callable[[str, str], Page]:
    """The class of a document, for tests of how documents are read."""
    return Page


@pytest.fixture(scope="session")
def pages(committed_files: tuple[Path, ...]) -> dict[str, Page]:
    """Every document, by its path."""
    names = {path.relative_to(ROOT).as_posix(): path for path in committed_files if path.suffix == ".md"}
    return {name: Page(name, path.read_text(encoding="utf-8")) for name, path in names.items()}


@pytest.fixture(scope="session")
def command_tree(distributions: tuple[Distribution, ...]) -> click.Group:
    """Every command of this repository, loaded from the entry points of its distributions."""
    root = click.Group("thv")
    for each in distributions:
        for name, value in each.metadata["project"].get("entry-points", {}).get("thv.commands", {}).items():
            module, _, attribute = value.partition(":")
            root.add_command(getattr(importlib.import_module(module), attribute), name)
    assert len(root.commands) > 10, "the commands were not found"
    return root


# A suite that silently ran nothing looks like a suite that passed. ---------------------------------------------------


def silent_suites(suites: Iterable[str], ran: Iterable[str]) -> list[str]:
    """Name the suites below whose folder no test ran; ``ran`` are node ids, ``core/tests/test_x.py::test_y``."""
    finished = tuple(ran)
    return [suite for suite in suites if not any(node.startswith(f"{suite}/") for node in finished)]


def suites_of(root: Path) -> list[str]:
    """Name every folder that owes a test: one for each distribution, and the tree's own."""
    folders = ["core", *(f"{group}/{child.name}" for group in GROUPS for child in sorted((root / group).iterdir()))]
    owing = [f"{folder}/tests" for folder in folders if (root / folder / "pyproject.toml").is_file()]
    return [*owing, "tests"]


class SuiteWatch:
    """Fails a complete run under CI in which a suite ran no test."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.silent: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and not report.skipped:
            self.ran.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.silent = silent_suites(suites_of(ROOT), self.ran)
        if self.silent and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for suite in self.silent:
            terminalreporter.write_line(f"ERROR: no test ran in {suite}", red=True)


def is_complete(config: pytest.Config) -> bool:
    """Whether everything was asked for: no path, no selection, no mere listing."""
    option = config.option
    selected = option.keyword or option.markexpr or option.deselect or option.collectonly or option.lf
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not selected


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true" and is_complete(config):
        config.pluginmanager.register(SuiteWatch(), "thv-suite-watch")


MEASURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def measures(request: pytest.FixtureRequest) -> list[str]:
    """Lines that the summary of the run shows, whatever the verbosity."""
    return request.config.stash.setdefault(MEASURES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(MEASURES, [])
    if lines:
        terminalreporter.section("size budgets")
    for line in lines:
        terminalreporter.write_line(line)
