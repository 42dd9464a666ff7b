from __future__ import annotations

import pytest

from thv_sandbox.hints import Machine, hint, parsed_os_release

UBUNTU = 'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n# a comment\n\nbroken line\n'
MINT = "ID=linuxmint\nID_LIKE='ubuntu debian'\n"
RESTRICTED = {"kernel.apparmor_restrict_unprivileged_userns": "1"}


def test_os_release_is_parsed_with_and_without_quotes() -> None:
    assert parsed_os_release(UBUNTU) == {"NAME": "Ubuntu", "ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04"}
    assert Machine(os_release=parsed_os_release(MINT)).families == ("linuxmint", "ubuntu", "debian")


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=debian", "sudo apt install bubblewrap"),
        (UBUNTU, "sudo apt install bubblewrap"),
        (MINT, "sudo apt install bubblewrap"),
        ("ID=fedora", "sudo dnf install bubblewrap"),
        ("ID=rocky\nID_LIKE='rhel centos fedora'", "sudo dnf install bubblewrap"),
        ("ID=arch", "sudo pacman -S bubblewrap"),
        ("ID=manjaro\nID_LIKE=arch", "sudo pacman -S bubblewrap"),
        ("ID=opensuse-leap\nID_LIKE='suse opensuse'", "sudo zypper install bubblewrap"),
    ],
)
def test_a_missing_bubblewrap_is_installed_as_the_distribution_does_it(release: str, command: str) -> None:
    assert hint(Machine(os_release=parsed_os_release(release))) == command


def test_an_unknown_distribution_gets_words() -> None:
    assert "package manager" in hint(Machine())


@pytest.mark.parametrize(
    ("setting", "value", "command"),
    [
        ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces"),
        ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ],
)
def test_a_kernel_setting_that_forbids_namespaces_is_named(setting: str, value: str, command: str) -> None:
    machine = Machine(settings={setting: value}, origin="system")
    assert command in hint(machine)
    inside = Machine(settings={setting: value}, origin="system", in_container=True)
    assert "on the host" in hint(inside)


def test_apparmor_on_ubuntu_is_told_about_the_system_s_bubblewrap() -> None:
    profile = "bwrap-userns-restrict"
    system = hint(Machine(os_release=parsed_os_release(UBUNTU), settings=RESTRICTED, origin="system"))
    assert profile in system
    assert "apt install bubblewrap" not in system
    bundled = hint(Machine(os_release=parsed_os_release(UBUNTU), settings=RESTRICTED, origin="bundled"))
    assert bundled.startswith("sudo apt install bubblewrap")
    assert profile in bundled


def test_a_container_that_forbids_sandboxes_is_named() -> None:
    assert "seccomp=unconfined" in hint(Machine(in_container=True, settings=RESTRICTED, origin="system"))


def test_a_setting_that_allows_everything_leaves_the_general_advice() -> None:
    open_settings = {"user.max_user_namespaces": "1000", "kernel.apparmor_restrict_unprivileged_userns": "0"}
    assert "user namespaces" in hint(Machine(settings=open_settings, origin="system"))
