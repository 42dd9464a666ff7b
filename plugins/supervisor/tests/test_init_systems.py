"""Speaking to systemd and launchd, which a stand-in answers for."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from thv_core.errors import AlreadyExists, ThvError, Unsupported
from thv_supervisor.init_systems import Answer, Launchd, Systemd, init_system, told
from thv_supervisor.units import Boot

STATE = Path("/home/ada/.local/state/thv")
BOOT = Boot(command=("/env/bin/python", "-P", "-m", "thv_supervisor.supervise", str(STATE)), log="/log")
START = "systemctl --user start thv.service"


class Speech:
    """What was said to the service manager; ``answers`` are given in order, then success."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.answers: dict[str, list[Answer]] = {}

    def __call__(self, command: Sequence[str]) -> Answer:
        words = " ".join(command)
        self.said.append(words)
        queue = self.answers.get(words, [])
        return queue.pop(0) if queue else Answer(0, "")


@pytest.fixture
def speech() -> Speech:
    return Speech()


@pytest.fixture
def systemd(speech: Speech, tmp_path: Path) -> Systemd:
    return Systemd(tmp_path / "units" / "thv.service", speech, user="ada", lingering=tmp_path / "linger")


@pytest.fixture
def launchd(speech: Speech, tmp_path: Path) -> Launchd:
    return Launchd(tmp_path / "agents" / "thv.supervisor.plist", speech, domain="gui/501")


# Which one ------------------------------------------------------------------------------------------------------------


def test_an_ordinary_user_has_a_unit_below_their_configuration(speech: Speech) -> None:
    me = os.getuid() or 65534
    found = init_system({"HOME": "/home/ada"}, me, "linux", speech)
    assert found.file == Path("/home/ada/.config/systemd/user/thv.service")
    assert isinstance(found, Systemd)
    assert found.user == pwd.getpwuid(me).pw_name
    moved = init_system({"HOME": "/home/ada", "XDG_CONFIG_HOME": "/etc/u"}, me, "linux", speech)
    assert moved.file == Path("/etc/u/systemd/user/thv.service")
    relative = init_system({"HOME": "/home/ada", "XDG_CONFIG_HOME": "etc"}, me, "linux", speech)
    assert relative.file == found.file


def test_a_user_without_a_name_is_called_by_their_number(speech: Speech) -> None:
    found = init_system({"HOME": "/home/ada"}, 54321, "linux", speech)
    assert isinstance(found, Systemd)
    assert found.user == "54321"


def test_root_has_a_unit_of_the_system_and_needs_not_linger(speech: Speech) -> None:
    found = init_system({"HOME": "/root", "XDG_CONFIG_HOME": "/elsewhere"}, 0, "linux", speech)
    assert found.file == Path("/etc/systemd/system/thv.service")
    assert (found.lingers(), found.before_login()) == (True, "")
    found.start()
    assert speech.said == ["systemctl start thv.service"]


def test_macos_has_an_agent(speech: Speech) -> None:
    found = init_system({"HOME": "/Users/ada"}, 501, "darwin", speech)
    assert isinstance(found, Launchd)
    assert found.file == Path("/Users/ada/Library/LaunchAgents/thv.supervisor.plist")


@pytest.mark.parametrize(("system", "environment"), [("win32", {"HOME": "/h"}), ("linux", {}), ("darwin", {})])
def test_elsewhere_the_user_is_told_of_the_foreground(system: str, environment: dict[str, str], speech: Speech) -> None:
    with pytest.raises(Unsupported) as refused:
        init_system(environment, 1000, system, speech)
    assert "thv serve" in refused.value.hint
    assert speech.said == []


# The file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["systemd", "launchd"])
def test_the_file_is_written_with_its_folder_and_again_over_itself(which: str, request: pytest.FixtureRequest) -> None:
    init = request.getfixturevalue(which)
    assert not init.serves(STATE)
    init.write(BOOT, STATE)
    assert init.serves(STATE)
    assert stat.S_IMODE(init.file.stat().st_mode) == 0o644
    init.write(BOOT, STATE)
    assert init.file.read_bytes() == init.content(BOOT)


@pytest.mark.parametrize("text", ["[Service]\nExecStart=/usr/bin/other\n", "another state"])
def test_a_file_that_runs_something_else_is_left_as_it_is(systemd: Systemd, text: str) -> None:
    other = text if "\n" in text else systemd.content(BOOT).decode().replace(str(STATE), "/elsewhere")
    systemd.file.parent.mkdir()
    systemd.file.write_text(other)
    with pytest.raises(AlreadyExists):
        systemd.write(BOOT, STATE)
    assert systemd.file.read_text() == other


def test_a_file_in_the_place_of_a_folder_serves_nobody_and_is_named_when_ours_should_be_written(
    systemd: Systemd,
) -> None:
    systemd.file.parent.parent.mkdir(exist_ok=True, parents=True)
    systemd.file.parent.touch()
    assert not systemd.serves(STATE)
    with pytest.raises(ThvError, match=r"cannot be written: (Not a directory|File exists)"):
        systemd.write(BOOT, STATE)


# systemd --------------------------------------------------------------------------------------------------------------


def test_activation_reads_enables_and_starts_the_unit(systemd: Systemd, speech: Speech) -> None:
    systemd.activate()
    assert speech.said == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --quiet thv.service",
        START,
    ]


def test_a_refusal_says_which_command_failed_and_what_systemd_said(systemd: Systemd, speech: Speech) -> None:
    speech.answers[START] = [Answer(1, "Job failed.\nSee journalctl.")]
    with pytest.raises(ThvError) as failed:
        systemd.activate()
    assert START in failed.value.message
    assert list(failed.value.evidence) == ["Job failed.", "See journalctl."]


def test_a_unit_that_failed_too_often_is_started_anyway(systemd: Systemd, speech: Speech) -> None:
    speech.answers[START] = [Answer(1, "start request repeated too quickly")]
    assert systemd.start().code == 0
    assert speech.said[-2:] == ["systemctl --user reset-failed thv.service", START]


def test_a_manager_that_does_not_answer_is_asked_once(systemd: Systemd, speech: Speech) -> None:
    speech.answers[START] = [Answer(1, "Failed to connect to bus")]
    speech.answers["systemctl --user show --property=Version"] = [Answer(1, "Failed to connect to bus")]
    assert systemd.start() == Answer(1, "Failed to connect to bus")
    assert speech.said.count(START) == 1


@pytest.mark.parametrize(("said", "active"), [("active", True), ("inactive", False), ("failed", False), ("", False)])
def test_activity_is_what_systemd_says(systemd: Systemd, speech: Speech, said: str, active: bool) -> None:
    speech.answers["systemctl --user is-active thv.service"] = [Answer(0 if active else 3, said)]
    assert systemd.is_active() is active


def test_lingering_is_known_from_logind_and_else_its_command_is_told(systemd: Systemd) -> None:
    assert (systemd.lingers(), systemd.before_login()) == (False, "loginctl enable-linger ada")
    systemd.lingering.mkdir()
    (systemd.lingering / "ada").touch()
    assert (systemd.lingers(), systemd.before_login()) == (True, "")


@pytest.mark.parametrize(("said", "version"), [("systemd 252 (252.38-1~deb12u1)\n+PAM", 252), ("not found", 0)])
def test_the_version_of_systemd_is_read(systemd: Systemd, speech: Speech, said: str, version: int) -> None:
    speech.answers["systemctl --version"] = [Answer(0, said)]
    assert systemd.version() == version


def test_deactivation_stops_and_disables_and_then_it_is_forgotten(systemd: Systemd, speech: Speech) -> None:
    systemd.deactivate()
    systemd.forget()
    assert speech.said == [
        "systemctl --user disable --quiet --now thv.service",
        "systemctl --user daemon-reload",
        "systemctl --user reset-failed thv.service",
    ]


def test_what_to_run_by_hand_is_what_activation_does(systemd: Systemd) -> None:
    assert systemd.by_hand() == "systemctl --user daemon-reload && systemctl --user enable --now thv.service"


# launchd --------------------------------------------------------------------------------------------------------------


def test_an_agent_is_loaded_anew_started_and_unloaded(launchd: Launchd, speech: Speech) -> None:
    launchd.activate()
    launchd.start()
    launchd.deactivate()
    assert speech.said == [
        "launchctl bootout gui/501/thv.supervisor",
        f"launchctl bootstrap gui/501 {launchd.file}",
        "launchctl kickstart gui/501/thv.supervisor",
        "launchctl bootout gui/501/thv.supervisor",
    ]


def test_an_agent_that_is_refused_says_why(launchd: Launchd, speech: Speech) -> None:
    speech.answers[launchd.by_hand()] = [Answer(5, "Bootstrap failed: 5: Input/output error")]
    with pytest.raises(ThvError) as failed:
        launchd.activate()
    assert list(failed.value.evidence) == ["Bootstrap failed: 5: Input/output error"]


@pytest.mark.parametrize(("said", "active"), [("\tstate = running\n", True), ("\tstate = not running\n", False)])
def test_an_agent_is_active_while_it_runs(launchd: Launchd, speech: Speech, said: str, active: bool) -> None:
    speech.answers["launchctl print gui/501/thv.supervisor"] = [Answer(0, said)]
    assert launchd.is_active() is active


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [(Answer(0, "fine"), ""), (Answer(1, "no bus\nSee"), "no bus"), (Answer(3, ""), "code 3")],
)
def test_a_failure_always_has_a_reason(answer: Answer, complaint: str) -> None:
    assert answer.complaint() == complaint


# Programs -------------------------------------------------------------------------------------------------------------


def test_a_program_is_run_with_the_variables_and_its_words_and_code_come_back(tmp_path: Path) -> None:
    run = told({"PATH": "/usr/bin:/bin", "WORD": "hello"})
    assert run(("sh", "-c", "echo $WORD; echo to stderr >&2; exit 3")) == Answer(3, "hello\nto stderr")


def test_a_program_that_is_not_there_is_an_answer() -> None:
    answer = told({"PATH": "/nowhere"})(("systemctl-of-no-system",))
    assert answer.code == 127
    assert "systemctl-of-no-system" in answer.text
