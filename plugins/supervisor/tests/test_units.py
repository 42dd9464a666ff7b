"""The texts that tell a service manager to run the processes of thv."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import InvalidRequest
from thv_supervisor.units import (
    Boot,
    launchd_plist,
    quoted,
    serves,
    systemd_unit,
    unit_environment,
    withheld,
)

COMMAND = ("/env/bin/python", "-P", "-m", "thv_supervisor.supervise", "/home/ada/.local/state/thv")
LOG = "/home/ada/.local/state/thv/supervisor.log"
ODD_STATES = [
    "/home/ada/my files/thv",
    "/home/ada/100%/thv",
    '/home/ada/a "quoted" one/thv',
    "/home/ada/it's/thv",
    "/home/ada/back\\slash/thv",
    "/home/ada/$HOME/thv",
    "/home/ada/;semi/thv",
    "/home/ada/#hash/thv",
    "/home/ada/a\u2028b/thv",
]


@pytest.fixture
def systemd_analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None and not os.environ.get("CI"):
        pytest.skip("systemd-analyze is not here")
    assert program, "install systemd, which judges the unit"
    return program


def of(command: tuple[str, ...] = COMMAND, **more: Any) -> Boot:
    return Boot(command=command, log=LOG, **more)


def settings(text: str) -> dict[str, str]:
    """Return the settings of a unit; of one that is there twice, the last."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain", "plain"),
        ("/a b", '"/a b"'),
        ("100%", "100%%"),
        ("%h", "%%h"),
        ('say "hi"', '"say \\"hi\\""'),
        ("it's", '"it\'s"'),
        ("back\\slash", '"back\\\\slash"'),
        (";", '";"'),
        ("", '""'),
        ("NAME=a b%c", '"NAME=a b%%c"'),
    ],
)
def test_a_word_is_written_as_systemd_reads_it_back(word: str, written: str) -> None:
    assert quoted(word) == written


@pytest.mark.parametrize("text", ["two\nlines", "nul\0", "\x1b[0m", "\x7f", "no \udcff text"])
def test_a_control_character_is_refused_everywhere(text: str) -> None:
    with pytest.raises(InvalidRequest):
        quoted(text)
    with pytest.raises(InvalidRequest):
        systemd_unit(Boot(command=COMMAND, log=text))


def test_servers_live_on_when_the_unit_stops_or_one_of_them_used_too_much_memory() -> None:
    found = settings(systemd_unit(of()))
    assert (found["KillMode"], found["Delegate"], found["OOMPolicy"]) == ("process", "yes", "continue")


def test_the_supervisor_is_started_again_after_a_crash_and_not_after_it_was_asked_to_end() -> None:
    found = settings(systemd_unit(of()))
    assert found["Restart"] == "on-failure"
    assert int(found["StartLimitBurst"]) * int(found["RestartSec"]) < int(found["StartLimitIntervalSec"])


def test_the_unit_runs_the_command_and_writes_where_the_user_looks() -> None:
    found = settings(systemd_unit(of()))
    assert found["ExecStart"] == " ".join(COMMAND)
    assert found["StandardOutput"] == found["StandardError"] == f"append:{LOG}"
    assert found["UMask"] == "0077"


@pytest.mark.parametrize(("personal", "target"), [(True, "default.target"), (False, "multi-user.target")])
def test_the_unit_of_a_user_and_that_of_the_system_are_wanted_by_their_own_target(personal: bool, target: str) -> None:
    assert settings(systemd_unit(of(personal=personal)))["WantedBy"] == target


@pytest.mark.parametrize(("version", "there"), [(0, False), (252, False), (254, True), (257, True)])
def test_a_control_group_below_the_units_own_is_asked_for_where_systemd_knows_it(version: int, there: bool) -> None:
    assert ("DelegateSubgroup=" in systemd_unit(of(version=version))) is there


def test_a_program_whose_path_systemd_refuses_is_run_by_a_shell() -> None:
    found = settings(systemd_unit(of(("/it's/python", *COMMAND[1:]))))["ExecStart"]
    assert found.startswith(':/bin/sh -c "exec \\"$0\\" \\"$@\\"" "/it\'s/python" -P -m ')


def test_a_dollar_sign_is_no_variable() -> None:
    assert settings(systemd_unit(of((*COMMAND[:-1], "/$HOME"))))["ExecStart"].startswith(":")


@pytest.mark.parametrize("state", [COMMAND[-1], *ODD_STATES])
def test_a_unit_and_a_property_list_are_known_by_the_state_directory_that_they_serve(state: str) -> None:
    boot = of((*COMMAND[:-1], state))
    for text in (systemd_unit(boot), launchd_plist(boot).decode()):
        assert serves(text, state)
        assert not serves(text, state + "2")
        assert not serves(text, "/thv")


@pytest.mark.parametrize("text", ["", "[Service]\nExecStart=/bin/true\n", "<plist/>", "\0", "<plist><array/></plist>"])
def test_what_is_not_ours_serves_nothing(text: str) -> None:
    assert not serves(text, COMMAND[-1])


def test_the_places_and_the_path_go_along_and_what_else_a_shell_has_does_not() -> None:
    shell = {
        "THV_HOME": "/h",
        "XDG_STATE_HOME": "/s",
        "PATH": "/bin",
        "HOME": "/home/ada",
        "EDITOR": "vi",
        "XDG_CACHE_HOME": "",
    }
    assert unit_environment(shell, personal=True) == {"THV_HOME": "/h", "XDG_STATE_HOME": "/s", "PATH": "/bin"}
    assert unit_environment(shell, personal=False)["HOME"] == "/home/ada"


def test_how_the_network_is_reached_goes_along_unless_it_holds_a_credential() -> None:
    shell = {
        "HTTPS_PROXY": "http://proxy:3128",
        "HTTP_PROXY": "http://me:hush@proxy:3128",
        "all_proxy": "me:hush@proxy:3128",
        "UV_DEFAULT_INDEX": "https://hush@index/simple",
        "UV_EXTRA_INDEX_URL": "https://a/simple https://b/simple?key=hush",
        "UV_INDEX_TEAM_PASSWORD": "hush",
        "UV_PUBLISH_TOKEN": "hush",
        "UV_OFFLINE": "1",
        "UV_KEYRING_PROVIDER": "subprocess",
        "SSL_CERT_FILE": "/ca.pem",
        "TOOLHIVE_SECRET_github": "hush",
        "THV_SECRETS_PASSWORD": "hush",
    }
    found = unit_environment(shell, personal=True)
    assert sorted(found) == ["HTTPS_PROXY", "SSL_CERT_FILE", "UV_KEYRING_PROVIDER", "UV_OFFLINE"]
    assert withheld(shell) == [
        "HTTP_PROXY",
        "UV_DEFAULT_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_INDEX_TEAM_PASSWORD",
        "UV_PUBLISH_TOKEN",
        "all_proxy",
    ]
    assert "hush" not in systemd_unit(of(environment=found)) + launchd_plist(of(environment=found)).decode()


def test_the_agent_of_launchd_keeps_the_supervisor_and_leaves_its_children() -> None:
    found = plistlib.loads(launchd_plist(of(environment={"THV_HOME": "/a & b"})))
    assert found["Label"] == "thv.supervisor"
    assert found["ProgramArguments"] == list(COMMAND)
    assert found["EnvironmentVariables"] == {"THV_HOME": "/a & b"}
    assert (found["AbandonProcessGroup"], found["RunAtLoad"]) == (True, True)
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["StandardErrorPath"] == LOG


@pytest.mark.parametrize("state", [COMMAND[-1], *ODD_STATES])
@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_systemd_accepts_the_unit_of_any_folder(systemd_analyze: str, tmp_path: Path, state: str, scope: str) -> None:
    python = tmp_path / "a folder's %s" / "python"
    python.parent.mkdir()
    shutil.copy("/bin/true", python)
    boot = Boot(
        command=(str(python), *COMMAND[1:-1], state),
        log=f"{state}/supervisor.log".replace("\\", ""),
        environment={"PATH": "/usr/bin", "THV_HOME": state},
        personal=scope == "--user",
    )
    unit = tmp_path / "thv.service"
    unit.write_text(systemd_unit(boot))
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [systemd_analyze, scope, "--man=no", "verify", str(unit)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "thv.service" in line]
    assert (done.returncode, complaints) == (0, [])
