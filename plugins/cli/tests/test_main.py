"""The ``thv`` command as a person or a program meets it: streams, exit codes, and whatever goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from thv_cli.invocation import run

GREET = '''"""A vendor's command."""
import click


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.argument("name", default="you")
@click.pass_obj
def greet(console, form, name):
    """Say hello.

    And no more.
    """
    console.message(f"working in {console.directory.name}")
    console.line(f"hello {name}")
'''

RAISING = GREET.replace("    console.line(", "    raise {0}\n    console.line(")


def test_thv_alone_prints_its_help(machine: Any) -> None:
    alone, asked = machine.thv(), machine.thv("--help")
    assert (alone.returncode, asked.returncode) == (0, 0)
    assert alone.stdout == asked.stdout
    assert alone.stderr == asked.stderr == ""
    assert alone.stdout.startswith("Usage: thv [OPTIONS] COMMAND [ARGS]...\n")


def test_the_help_has_a_line_for_each_command_in_sections(machine: Any) -> None:
    machine.command("greet", GREET)
    lines = machine.thv("--help").stdout.splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Options:", "Servers:", "Use and access:", "This installation:", "More:"]
    assert "  version     Show the version of thv and what it runs on" in lines
    assert lines.index("  run         Run an MCP server in isolation") < lines.index("This installation:")
    assert lines[lines.index("More:") + 1] == "  greet       Say hello"


def test_a_group_alone_prints_its_help(machine: Any) -> None:
    done = machine.thv("plugins")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: thv plugins [OPTIONS] COMMAND [ARGS]...\n")


def test_a_vendors_command_gets_the_console(machine: Any) -> None:
    machine.command("greet", GREET)
    done = machine.thv("greet", "Ada")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello Ada\n", "working in home\n")


def test_toolhive_is_another_name_of_the_program(machine: Any) -> None:
    assert machine.thv("--version", program="toolhive").stdout == "thv 0.1.0\n"
    assert machine.thv("qqq", program="toolhive").stderr.endswith("  toolhive --help\n")


def test_an_alias_runs_the_command_it_stands_for(machine: Any) -> None:
    assert machine.thv("ls", "--help").stdout.replace("thv ls", "thv list") == machine.thv("list", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("verison",), "error: there is no command 'verison'\n  Did you mean version?      thv --help\n"),
        (("qqq",), "error: there is no command 'qqq'\n  thv --help\n"),
        (("version", "--fromat", "json"), "Did you mean --format?      thv version --help\n"),
        (("--verison",), "Did you mean --version?      thv --help\n"),
        (("version", "--format", "yaml"), "'yaml' is not one of 'text', 'json'\n  thv version --help\n"),
        (("completion",), "error: missing argument 'SHELL': one of bash, zsh, fish\n  thv completion --help\n"),
        (("run", "--transport"), "error: option '--transport' requires an argument\n  thv run --help\n"),
        (
            ("run", "--proxy-port", "abc", "uvx://x"),
            "error: invalid value for '--proxy-port': 'abc' is not a whole number between 0 and 65535\n"
            "  thv run --help\n",
        ),
        (("logs", "time", "--tail", "-1"), "invalid value for '--tail': -1 is not at least 0\n  thv logs --help\n"),
        (
            ("run", "uvx://x", "--evn", "A=b"),
            "Did you mean --env?      What belongs to the server goes behind --      thv run --help\n",
        ),
        (("config", "get"), "error: missing argument 'KEY'\n  thv config get --help\n"),
        (("config", "get", "a", "b"), "error: got unexpected extra argument (b)\n  thv config get --help\n"),
    ],
)
def test_a_mistake_on_the_command_line_is_explained_with_exit_code_2(
    machine: Any, arguments: tuple[str, ...], error: str
) -> None:
    done = machine.thv(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(error)


def test_a_flag_that_people_know_from_elsewhere_is_said_to_come_with_its_feature(machine: Any) -> None:
    done = machine.thv("run", "--tools", "a", "uvx://x")
    assert done.returncode == 2
    assert done.stderr == (
        "error: no such option '--tools'\n"
        "  It comes with tool filters, which this version does not have      thv run --help\n"
    )
    assert "Did you mean --name?" in machine.thv("run", "--nmae", "x").stderr


def test_an_option_that_is_like_another_in_its_dashes_alone_is_not_taken_for_it(machine: Any) -> None:
    assert "Did you mean" not in machine.thv("run", "--runtime", "x").stderr


def test_the_command_to_ask_for_help_is_one_that_exists_even_below_a_group_with_an_argument(machine: Any) -> None:
    done = machine.thv("proxy", "stdio", "--nope")
    assert done.stderr == "error: no such option '--nope'\n  thv proxy stdio --help\n"


def test_a_misspelt_subcommand_gets_the_nearest(machine: Any) -> None:
    done = machine.thv("plugins", "lst")
    assert done.returncode == 2
    assert done.stderr == "error: there is no command 'lst'\n  Did you mean list?      thv plugins --help\n"


def test_a_command_that_people_know_from_elsewhere_is_said_to_be_missing_yet(machine: Any) -> None:
    done = machine.thv("secret")
    assert done.returncode == 2
    assert done.stderr == "error: there is no command 'secret'\n  The command secret is not offered yet.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("config", "get", "runtme", "--format", "json"), "invalid-settings", 2),
        (("version", "--fromat", "x", "--format=json"), "invalid-request", 2),
        (("nope", "--format", "json"), "invalid-request", 2),
    ],
)
def test_with_json_an_error_is_one_json_object_on_stderr(
    machine: Any, arguments: tuple[str, ...], code: str, exit_code: int
) -> None:
    done = machine.thv(*arguments)
    document = json.loads(done.stderr)
    assert sorted(document) == ["code", "evidence", "hint", "message"]
    assert (document["code"], done.returncode, done.stdout) == (code, exit_code, "")


class TestStrangers:
    def test_a_command_whose_import_fails_is_named_with_its_distribution(self, machine: Any) -> None:
        machine.command("greet", 'import click\nraise OSError("no \\x1b[31mkey")\n' + GREET)
        done = machine.thv("greet")
        assert done.returncode == 1
        assert done.stderr == (
            "error: the command 'greet' of acme-thv-greet 1.4.0 could not be imported\n"
            "  OSError: no \\x1b[31mkey\n"
            "  Upgrade or uninstall acme-thv-greet, or tell its author.\n"
        )

    def test_its_traceback_is_shown_in_debugging(self, machine: Any) -> None:
        machine.command("greet", "raise OSError('no key')\n")
        for done in (machine.thv("greet", "--debug"), machine.thv("greet", THV_DEBUG="1")):
            assert "Traceback (most recent call last):" in done.stderr
            assert "acme_greet.py" in done.stderr
            assert "error: the command 'greet' of acme-thv-greet 1.4.0 could not be imported\n" in done.stderr

    def test_a_command_that_exits_when_imported_does_not_end_thv(self, machine: Any) -> None:
        machine.command("greet", "raise SystemExit(0)\n")
        done = machine.thv("greet")
        assert done.returncode == 1
        assert "acme-thv-greet 1.4.0 could not be imported" in done.stderr

    def test_something_that_is_no_command_is_refused(self, machine: Any) -> None:
        machine.command("greet", "def greet(): ...\n")
        done = machine.thv("greet")
        assert done.returncode == 1
        assert "the command 'greet' of acme-thv-greet 1.4.0 is not a click command" in done.stderr

    def test_an_incompatible_one_is_listed_as_such_and_not_imported(self, machine: Any) -> None:
        machine.command("greet", "open('imported', 'w')\n" + GREET, requires="thv-core>=7")
        listed, done = machine.thv("--help"), machine.thv("greet")
        assert "greet       cannot be used: acme-thv-greet 1.4.0: " in listed.stdout
        assert done.returncode == 1
        assert "acme-thv-greet 1.4.0" in done.stderr
        assert not (machine.home / "imported").exists()

    def test_two_with_one_name_are_both_refused(self, machine: Any) -> None:
        machine.command("greet", GREET)
        machine.install("other-greet", "[thv.commands]\ngreet = acme_greet:greet\n")
        listed, done = machine.thv("--help"), machine.thv("greet")
        assert listed.stdout.count("\n  greet ") == 1
        assert done.returncode == 1
        assert "acme-thv-greet 1.4.0" in done.stderr
        assert "other-greet 1.4.0" in done.stderr

    def test_one_cannot_take_the_name_of_a_command_of_thv(self, machine: Any) -> None:
        machine.command("version", GREET.replace("def greet", "def version"))
        done = machine.thv("version")
        assert done.returncode == 1
        assert "acme-thv-version 1.4.0" in done.stderr
        assert "thv-cli 0.1.0" in done.stderr

    @pytest.mark.parametrize("source", ["import acme_sdk_missing\n" + GREET, "def greet(:\n", "other = 1\n"])
    def test_a_command_that_cannot_work_is_listed_as_such_and_disturbs_no_other(
        self, machine: Any, source: str
    ) -> None:
        machine.command("greet", source)
        listed, other = machine.thv("--help"), machine.thv("version")
        assert listed.returncode == other.returncode == 0
        assert "  greet       cannot be used: acme-thv-greet 1.4.0: " in listed.stdout
        assert "  version     Show the version" in listed.stdout
        assert machine.thv("greet").returncode == 1

    def test_one_that_is_disabled_cannot_be_run(self, machine: Any) -> None:
        machine.command("greet", GREET)
        assert machine.thv("config", "set", "disabled", "acme-thv-greet").returncode == 0
        listed, done = machine.thv("--help"), machine.thv("greet")
        assert "greet       cannot be used: acme-thv-greet 1.4.0: it is listed in disabled" in listed.stdout
        assert (done.returncode, done.stdout) == (1, "")
        machine.thv("config", "unset", "disabled")
        assert machine.thv("greet").returncode == 0

    def test_an_unforeseen_exception_is_an_internal_error_that_names_it(self, machine: Any) -> None:
        machine.command("greet", RAISING.replace("{0}", "ZeroDivisionError('by zero')"))
        done = machine.thv("greet", "--quiet")
        assert done.returncode == 1
        assert done.stderr == (
            "error: internal error: ZeroDivisionError: by zero\n"
            "  in the command greet of acme-thv-greet 1.4.0\n"
            "  Run again with --debug.\n"
        )

    def test_a_broken_pipe_that_is_not_the_output_is_an_internal_error(self, machine: Any) -> None:
        machine.command("greet", RAISING.replace("{0}", "BrokenPipeError('socket')"))
        done = machine.thv("greet")
        assert done.returncode == 1
        assert "internal error: BrokenPipeError: socket" in done.stderr

    def test_its_help_cannot_drive_the_terminal(self, machine: Any) -> None:
        machine.command("greet", GREET.replace("Say hello.", "Say \\x1b[31m\\u202ehello."))
        assert "  greet       Say \\x1b[31m\\u202ehello\n" in machine.thv("--help").stdout


class TestGlobalOptions:
    @pytest.mark.parametrize("arguments", [("--quiet", "greet"), ("greet", "--quiet"), ("greet", "Ada", "--quiet")])
    def test_quiet_is_understood_before_and_behind_the_command(self, machine: Any, arguments: tuple[str, ...]) -> None:
        machine.command("greet", GREET)
        done = machine.thv(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("hello ")

    def test_they_are_understood_behind_a_subcommand(self, machine: Any) -> None:
        done = machine.thv("config", "set", "start_timeout", "5", "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_a_command_keeps_an_option_of_its_own_of_that_name(self, machine: Any) -> None:
        source = GREET.replace("@click.pass_obj", '@click.option("--quiet", "form2")\n@click.pass_obj')
        machine.command("greet", source.replace("form, name)", "form, name, form2)").replace("{name}", "{form2}"))
        assert machine.thv("greet", "--quiet", "please").stdout == "hello please\n"

    @pytest.mark.parametrize(
        ("arguments", "environment", "shown"),
        [
            (("--debug",), {}, True),
            ((), {"TOOLHIVE_DEBUG": "true"}, True),
            ((), {"THV_DEBUG": "0"}, False),
            (("--", "--debug"), {}, False),
        ],
    )
    def test_debugging_comes_from_the_option_or_the_environment(
        self, machine: Any, arguments: tuple[str, ...], environment: dict[str, str], shown: bool
    ) -> None:
        source = "import logging\n" + RAISING.replace("{0}", "ValueError('bad')")
        source = source.replace(
            "    console.message", "    logging.getLogger('acme').debug('detail')\n    console.message"
        )
        machine.command("greet", source)
        done = machine.thv("greet", *arguments, **environment)
        assert ("Traceback" in done.stderr) is shown
        assert ("DEBUG acme: detail" in done.stderr) is shown

    def test_version_is_one_line(self, machine: Any) -> None:
        assert machine.thv("--version").stdout == "thv 0.1.0\n"


def heed_interrupts() -> None:
    """Let a child heed SIGINT, although whoever started these tests in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class TestEndings:
    def test_ctrl_c_ends_with_130_and_no_word(self, machine: Any) -> None:
        machine.command(
            "greet",
            "import time\n"
            + GREET.replace("    console.message", "    MARK\n    console.message").replace(
                "MARK", "console.line('waiting'); time.sleep(50)"
            ),
        )
        with subprocess.Popen(
            machine.argv("greet"),
            env=machine.variables({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(signal.SIGINT)
            assert process.stderr.read() == ""
            assert process.wait(20) == 130

    def test_ctrl_c_during_the_imports_ends_with_130_and_no_word(self, machine: Any) -> None:
        (machine.site / "click.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(50)\n")
        with subprocess.Popen(
            machine.argv("version"),
            env=machine.variables({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "importing\n"
            process.send_signal(signal.SIGINT)
            assert process.stderr.read() == ""
            assert process.wait(20) == 130

    def test_ctrl_c_is_ignored_by_one_that_was_started_so(self, machine: Any) -> None:
        machine.command("greet", "import os, signal\n" + GREET.replace("    console.message", "    MARK\n    pass #"))
        source = (machine.site / "acme_greet.py").read_text().replace("MARK", "os.kill(os.getpid(), signal.SIGINT)")
        (machine.site / "acme_greet.py").write_text(source)
        done = subprocess.run(
            ["/bin/sh", "-c", 'trap \'\' INT; exec "$0" "$@"', *machine.argv("greet")],
            env=machine.variables({}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello you\n", "")

    def test_ctrl_c_while_an_error_is_printed_is_no_traceback(self, streams: Any, monkeypatch: Any) -> None:
        def interrupted(text: str) -> None:
            raise KeyboardInterrupt

        it = streams()
        monkeypatch.setattr(it.console, "failure", interrupted)
        assert run(["--nope"], it.console) == 130

    def test_a_reader_that_goes_away_ends_a_command_silently(self, machine: Any) -> None:
        machine.command("greet", GREET.replace("    console.line(", "    while True:\n        console.line("))
        with subprocess.Popen(
            machine.argv("greet", "--quiet"),
            env=machine.variables({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "hello you\n"
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait(20) == 141

    @pytest.mark.parametrize("arguments", [("--help",), ("version",), ("config", "list"), ("--version",)])
    def test_a_reader_that_was_never_there_is_no_error(self, machine: Any, arguments: tuple[str, ...]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            machine.argv(*arguments),
            env=machine.variables({}),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, "")

    def test_a_command_may_choose_its_exit_code(self, machine: Any) -> None:
        machine.command("greet", RAISING.replace("raise {0}", "click.get_current_context().exit(7)"))
        assert machine.thv("greet").returncode == 7

    def test_text_that_the_encoding_lacks_is_escaped(self, machine: Any) -> None:
        machine.command("greet", GREET)
        done = machine.thv("greet", "世", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stdout) == (0, "hello \\u4e16\n")

    def test_a_directory_that_was_removed_keeps_nobody_from_asking_for_help(self, machine: Any, tmp_path: Path) -> None:
        script = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" --help'
        done = subprocess.run(
            ["/bin/sh", "-c", script, *machine.argv()],
            env=machine.variables({}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_help_needs_no_home_and_no_sound_settings(self, machine: Any) -> None:
        settings = machine.home / ".config" / "thv" / "config.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text("runtme: docker\ndisabled: [acme-thv-greet]\n")
        machine.command("greet", GREET)
        assert "it is listed in disabled" in machine.thv("--help").stdout
        assert machine.thv("config", "unset", "runtme").returncode == 0
        assert machine.thv("--help", HOME="").returncode == 0
