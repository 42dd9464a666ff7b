"""What is read from the source of a command, without executing it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from thv_cli.summaries import Summary, summary

EXPLODING = 'raise RuntimeError("executed")\nimport click\n'


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of a module on ``sys.path`` with the source that the test is parametrized with."""
    name = f"acme_read_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(request.param)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def source(text: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("written", [text], indirect=True, ids=["source"])


@source(EXPLODING + '@click.command()\ndef greet():\n    """Say hello.\n\n    At length."""\n')
def test_the_first_sentence_of_the_docstring_is_read_and_nothing_is_executed(written: str) -> None:
    assert summary(f"{written}:greet") == Summary(text="Say hello")
    assert written not in sys.modules


@source(
    '@click.command("greet", short_help="Short.")\n@click.option("--x", help="Option.")\ndef greet():\n    """L."""\n'
)
def test_a_short_help_wins_and_the_help_of_an_option_is_not_taken_for_it(written: str) -> None:
    assert summary(f"{written}:greet") == Summary(text="Short")


@source('@click.option("--x", help="Option.", hidden=True)\n@main.command()\ndef greet():\n    """Say hello."""\n')
def test_a_hidden_option_does_not_hide_its_command(written: str) -> None:
    assert summary(f"{written}:greet") == Summary(text="Say hello")


@source('import click\ngreet: click.Group = click.Group("greet", help="Greetings of\\n  all kinds. Many.")\n')
def test_an_assigned_group_is_read_too(written: str) -> None:
    assert summary(f"{written}:greet") == Summary(text="Greetings of all kinds")


@source('@click.command(hidden=True)\ndef greet():\n    """Say hello."""\n')
def test_a_hidden_command_is_hidden(written: str) -> None:
    assert summary(f"{written}:greet").hidden


@source("try:\n    from fast import greet\nexcept ImportError:\n    def greet(): ...\n")
def test_a_command_that_may_be_defined_under_a_condition_is_not_called_broken(written: str) -> None:
    assert summary(f"{written}:greet") == Summary()


@source('if TYPE_CHECKING:\n    import x\n\ndef greet():\n    """Say hello."""\n')
def test_a_condition_elsewhere_in_the_module_does_not_matter(written: str) -> None:
    assert summary(f"{written}:greet") == Summary(text="Say hello")


@source("from json import *\n")
def test_a_star_import_may_give_the_command(written: str) -> None:
    assert summary(f"{written}:greet") == Summary()


@source("import os\nimport acme_sdk_that_is_missing.client\n\ndef greet(): ...\n")
def test_an_import_of_what_is_not_installed_is_found(written: str) -> None:
    assert summary(f"{written}:greet").broken == "it imports acme_sdk_that_is_missing, which is not installed"


@source("def greet(:\n")
def test_a_syntax_error_is_found(written: str) -> None:
    assert summary(f"{written}:greet").broken.startswith("SyntaxError: ")


@source("def other(): ...\n")
def test_a_name_that_is_not_there_is_found(written: str) -> None:
    assert summary(f"{written}:greet").broken == f"{written} has no greet"


@pytest.mark.parametrize("value", ["acme_nowhere:greet", "acme_nowhere.commands:greet", "thv_cli.nowhere:greet"])
def test_a_module_that_is_not_there_is_found(value: str) -> None:
    assert summary(value).broken == f"there is no module {value.partition(':')[0]}"


@pytest.mark.parametrize("value", ["", ":", "..:x", "math:sqrt", "\0:x"])
def test_nothing_that_an_entry_point_says_makes_reading_fail(value: str) -> None:
    assert isinstance(summary(value), Summary)


def test_a_package_is_not_imported_to_read_a_module_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "acme_read_package"
    package.mkdir()
    (package / "__init__.py").write_text(EXPLODING)
    (package / "greeting.py").write_text('def greet():\n    """Say hello."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert summary("acme_read_package.greeting:greet") == Summary(text="Say hello")
    assert "acme_read_package" not in sys.modules
