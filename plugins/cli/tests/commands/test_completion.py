"""``thv completion``, and what a shell gets when it asks for completions."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

GREET = '''import click

def _names(context, parameter, incomplete):
    return [name for name in ("ada", "alan", "grace") if name.startswith(incomplete)]


@click.command()
@click.argument("name", shell_complete=_names)
@click.pass_obj
def greet(console, name):
    """Say hello."""
'''


def completions(machine: Any, words: str, program: str = "thv") -> list[str]:
    """Return what bash would offer behind ``words``, the last of which is being typed."""
    done = machine.thv(
        program=program,
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        **{f"_{program.upper()}_COMPLETE": "bash_complete"},
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_are_completed_without_importing_one(machine: Any) -> None:
    machine.command("greet", "open('imported', 'w')\n" + GREET)
    assert completions(machine, "thv gre") == ["greet"]
    assert {"config", "list", "plugins", "run", "version"} <= set(completions(machine, "thv "))
    assert not (machine.home / "imported").exists()


def test_the_other_name_of_the_program_is_completed_too(machine: Any) -> None:
    assert completions(machine, "toolhive vers", "toolhive") == ["version"]


def test_options_and_subcommands_are_completed(machine: Any) -> None:
    assert completions(machine, "thv --deb") == ["--debug"]
    assert completions(machine, "thv plugins list --q") == ["--quiet"]
    assert completions(machine, "thv plugins l") == ["list"]
    assert completions(machine, "thv version --format ") == ["text", "json"]


def test_the_names_that_a_command_knows_are_completed(machine: Any) -> None:
    machine.command("greet", GREET)
    assert completions(machine, "thv greet a") == ["ada", "alan"]


def test_keys_of_settings_and_names_of_plugins_are_completed(machine: Any) -> None:
    assert completions(machine, "thv config set run") == ["runtime"]
    assert completions(machine, "thv config set pl") == ["plugins."]
    assert completions(machine, "thv config set runtime san") == ["sandbox"]
    assert completions(machine, "thv config set start_timeout ") == []


@pytest.mark.parametrize("source", ["raise RuntimeError('no')\n", GREET.replace("return [", "raise OSError; [")])
def test_what_goes_wrong_is_not_printed_into_the_line_of_the_user(machine: Any, source: str) -> None:
    machine.command("greet", source)
    assert completions(machine, "thv greet a") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_serves_both_names(machine: Any, shell: str) -> None:
    done = machine.thv("completion", shell)
    assert done.returncode == 0
    assert f"_THV_COMPLETE={shell}_complete" in done.stdout
    assert f"_TOOLHIVE_COMPLETE={shell}_complete" in done.stdout


def test_bash_accepts_the_script(machine: Any) -> None:
    bash = shutil.which("bash")
    assert bash is not None, "bash is needed for this test"
    script = machine.thv("completion", "bash").stdout
    done = subprocess.run([bash, "-n"], input=script, text=True, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_shell_is_refused(machine: Any) -> None:
    done = machine.thv("completion", "tcsh")
    assert done.returncode == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_without_descriptions_asks_for_names_alone(machine: Any, shell: str) -> None:
    script = machine.thv("completion", shell, "--no-descriptions").stdout
    assert f"_THV_COMPLETE={shell}_names" in script
    assert f"={shell}_complete" not in script


def test_names_alone_are_answered_without_descriptions(machine: Any) -> None:
    words = {"COMP_WORDS": "thv vers", "COMP_CWORD": "1"}
    assert machine.thv(_THV_COMPLETE="zsh_complete", **words).stdout.split("\n")[:2] == ["plain", "version"]
    assert "Show" in machine.thv(_THV_COMPLETE="zsh_complete", **words).stdout
    assert machine.thv(_THV_COMPLETE="zsh_names", **words).stdout == "plain\nversion\n_\n"
    assert machine.thv(_THV_COMPLETE="tcsh_names", **words).returncode == 1
