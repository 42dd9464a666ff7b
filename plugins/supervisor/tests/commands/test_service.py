"""``thv service``, with a stand-in for what installs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from thv_supervisor import installing
from thv_supervisor.commands.service import service

FOUND = {
    "installed": True,
    "init_system": "systemd",
    "file": "/home/ada/.config/systemd/user/thv.service",
    "active": True,
    "at_boot": False,
    "at_boot_hint": "loginctl enable-linger u",
    "processes": "run as the service",
}


class Installed:
    """What was asked of the service."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.found: dict[str, Any] = dict(FOUND)

    def __call__(self, environment: object, message: Callable[[str], None]) -> Installed:
        return self

    def install(self) -> None:
        self.asked.append("install")

    def uninstall(self) -> None:
        self.asked.append("uninstall")

    def status(self) -> dict[str, Any]:
        return self.found


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    installed = Installed()
    monkeypatch.setattr(installing, "Service", installed)
    return installed


@pytest.mark.parametrize("word", ["install", "uninstall"])
def test_the_service_is_installed_and_removed(installed: Installed, invoke: Any, word: str) -> None:
    assert invoke(service, word).exit_code == 0
    assert installed.asked == [word]


def test_the_status_is_four_lines_with_what_to_do_for_boot(installed: Installed, invoke: Any, console: Any) -> None:
    invoke(service, "status")
    assert console.lines == [
        "installed  /home/ada/.config/systemd/user/thv.service",
        "active     yes (systemd)",
        "at boot    no   loginctl enable-linger u",
        "processes  run as the service",
    ]


def test_what_is_not_installed_has_no_advice_for_boot(installed: Installed, invoke: Any, console: Any) -> None:
    installed.found |= {"installed": False, "active": False, "processes": "do not run"}
    invoke(service, "status")
    assert console.lines == ["installed  no", "active     no (systemd)", "at boot    no", "processes  do not run"]


def test_the_status_as_json_is_all_that_is_known(installed: Installed, invoke: Any, console: Any) -> None:
    invoke(service, "status", "--format", "json")
    assert console.documents == [FOUND]
