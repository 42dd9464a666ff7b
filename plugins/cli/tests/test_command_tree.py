"""The root of all commands, on catalogs made by hand."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from thv_cli.command_tree import ALIASES, OTHERS, SECTIONS, CommandTree
from thv_cli.global_options import with_global_options
from thv_core.errors import InvalidRequest, PluginRefused
from thv_core.loading.catalog import Catalog, Plugin, PluginStatus

LIST = Plugin("command", "list", "acme", "1.0", "acme_tree:list_all", PluginStatus.READY)
GREET = Plugin("command", "greet", "acme", "1.0", "acme_tree:greetings.command", PluginStatus.READY)


@pytest.fixture(autouse=True)
def _acme() -> Iterator[None]:
    module = types.ModuleType("acme_tree")
    vars(module)["list_all"] = click.Command("other-name", callback=lambda: click.echo("listed"))
    vars(module)["greetings"] = types.SimpleNamespace(command=click.Command("greet", callback=lambda: click.echo("hi")))
    sys.modules["acme_tree"] = module
    yield
    del sys.modules["acme_tree"]


def tree(*plugins: Plugin) -> CommandTree:
    return CommandTree(lambda: Catalog(plugins))


def test_a_command_is_known_by_the_name_of_its_entry_point() -> None:
    result = CliRunner().invoke(tree(LIST), ["list", "--help"])
    assert result.output.startswith("Usage: thv list [OPTIONS]\n")


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_runs_what_it_stands_for(alias: str) -> None:
    assert CliRunner().invoke(tree(LIST), [alias]).output == "listed\n"


def test_an_alias_of_a_command_that_is_not_installed_is_no_command() -> None:
    with pytest.raises(InvalidRequest, match="there is no command 'ls'"):
        CliRunner().invoke(tree(GREET), ["ls"], catch_exceptions=False)


def test_an_attribute_of_an_object_can_be_a_command() -> None:
    assert CliRunner().invoke(tree(GREET), ["greet"]).output == "hi\n"


@pytest.mark.parametrize("arguments", [["help", "list"], ["list", "-h"], ["list", "--help"]])
def test_there_are_three_ways_to_ask_for_the_help_of_a_command(arguments: list[str]) -> None:
    assert CliRunner().invoke(tree(LIST), arguments).output.startswith("Usage: thv list ")


def test_help_alone_is_the_help_of_thv() -> None:
    assert CliRunner().invoke(tree(LIST), ["help"]).output.startswith("Usage: thv [OPTIONS] COMMAND")


def test_a_refused_command_is_refused_by_the_catalog() -> None:
    refused = Plugin("command", "greet", "acme", "1.0", GREET.value, PluginStatus.INCOMPATIBLE, "it is too new")
    with pytest.raises(PluginRefused, match="acme"):
        CliRunner().invoke(tree(refused, LIST), ["greet"], catch_exceptions=False)
    assert CliRunner().invoke(tree(refused, LIST), ["list"]).output == "listed\n"


def test_a_program_without_any_command_still_has_help() -> None:
    result = CliRunner().invoke(tree(), ["--help"])
    assert result.exit_code == 0
    assert OTHERS not in result.output


def test_every_name_has_one_place_in_the_help() -> None:
    names = [name for section in SECTIONS.values() for name in section]
    assert len(names) == len(set(names))


def test_the_catalog_is_not_scanned_to_show_the_version() -> None:
    def scan() -> Catalog:
        raise AssertionError("scanned")

    result = CliRunner().invoke(click.version_option("1.0", message="%(version)s")(CommandTree(scan)), ["--version"])
    assert result.output == "1.0\n"


def test_global_options_are_added_once() -> None:
    command = click.Group("group", commands=[click.Command("child")])
    before = [option.name for option in with_global_options(command).params]
    assert [option.name for option in with_global_options(command).params] == before
    assert [option.name for option in command.commands["child"].params] == ["debug", "quiet"]


def test_a_command_names_the_global_options_in_one_line_behind_its_own() -> None:
    command = click.Command("greet", params=[click.Option(["--quiet"], is_flag=True, help="Whisper.")], epilog="End.")
    text = CliRunner().invoke(with_global_options(command), ["--help"]).output
    assert text.splitlines()[-3:] == ["  End.", "", "  Also: --debug"]
    assert "Whisper." in text
    assert "debug messages" not in text


def test_an_alias_is_mentioned_with_its_command() -> None:
    assert "; also ls\n" in CliRunner().invoke(tree(LIST), ["--help"]).output
