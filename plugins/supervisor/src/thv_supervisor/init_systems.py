"""Speak to what starts programs at boot: systemd, or launchd on macOS."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thv_core.errors import AlreadyExists, ThvError, Unsupported
from thv_core.state.files import read_or_none, write_atomically
from thv_supervisor.units import LABEL, UNIT, Boot, launchd_plist, serves, systemd_unit

__all__ = ["Answer", "InitSystem", "Launchd", "Systemd", "Told", "init_system", "told"]

PATIENCE = 40.0
"""Seconds that a service manager may take; longer than a unit of ours takes to stop."""

SYSTEM_UNITS = Path("/etc/systemd/system")
LINGERING = Path("/var/lib/systemd/linger")
RUNTIME_DIRECTORIES = Path("/run/user")


@dataclass(frozen=True)
class Answer:
    """How a program of the service manager ended, and what it said."""

    code: int
    text: str

    def complaint(self) -> str:
        """Return the first line of what it said if it failed, else nothing."""
        return next(iter(self.text.splitlines()), f"code {self.code}") if self.code else ""


Told = Callable[[Sequence[str]], Answer]
"""Run one program of the service manager."""


def told(environment: Mapping[str, str]) -> Told:
    """Return what runs programs with a shell's variables, and finds the manager of a user who has no session."""
    directory = RUNTIME_DIRECTORIES / str(os.geteuid())
    known = {"XDG_RUNTIME_DIR": str(directory)} if directory.is_dir() else {}
    variables = {**known, **environment}

    def run(command: Sequence[str]) -> Answer:
        try:
            done = subprocess.run(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Answer(127, str(error))
        return Answer(done.returncode, done.stdout.decode(errors="replace").strip())

    return run


class InitSystem(ABC):
    """What starts programs at boot, and the file that tells it to start ours."""

    name: str
    file: Path

    def installed(self) -> str | None:
        """Return the text of the file, or ``None`` when there is none."""
        content = read_or_none(self.file)
        return None if content is None else content.decode(errors="replace")

    def serves(self, state: Path) -> bool:
        """Tell whether the file is there and runs the supervisor of a state directory."""
        try:
            text = self.installed()
        except OSError:  # something else lies on the way to it
            return False
        return text is not None and serves(text, str(state))

    def write(self, boot: Boot, state: Path) -> None:
        """Write the file.

        :raises AlreadyExists: when one is there that runs something else.
        :raises ThvError: when it cannot be written.
        """
        content = self.content(boot)
        try:
            if self.installed() is not None and not self.serves(state):
                raise AlreadyExists(
                    f"{self.file} is there already and runs something else",
                    hint="See what it is. If it is of another state folder, uninstall it with the same THV_HOME.",
                )
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, content, mode=0o644)
        except OSError as error:
            raise ThvError(
                f"{self.file} cannot be written: {error.strerror}", hint="See what its folder is, and whose."
            ) from None

    @abstractmethod
    def content(self, boot: Boot) -> bytes:
        """Return the content of the file for what is to run."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether the manager runs and may be spoken to."""

    @abstractmethod
    def activate(self) -> None:
        """Let the manager read the file, start what it says, and start it at every boot.

        :raises ThvError: with what the manager said.
        """

    @abstractmethod
    def start(self) -> Answer:
        """Start what the file says, unless it runs."""

    @abstractmethod
    def deactivate(self) -> None:
        """Stop what the file says, and let the manager forget it; the file is removed by the caller."""

    @abstractmethod
    def forget(self) -> None:
        """Let the manager see that the file is gone."""

    @abstractmethod
    def is_active(self) -> bool:
        """Tell whether what the file says runs."""

    @abstractmethod
    def by_hand(self) -> str:
        """Return the command that :meth:`activate` stands for."""

    @abstractmethod
    def lingers(self) -> bool:
        """Tell whether it runs without a session of the user, from boot on."""

    @abstractmethod
    def since(self) -> str:
        """Say from when on what the file says runs."""

    def before_login(self) -> str:
        """Return the command that makes it run without a session, or nothing."""
        return ""


@dataclass(frozen=True)
class Systemd(InitSystem):
    """systemd: the user's own manager, or for root that of the system."""

    file: Path
    run: Told
    user: str = ""
    lingering: Path = LINGERING
    name: str = "systemd"

    def content(self, boot: Boot) -> bytes:
        """Return the unit."""
        return systemd_unit(boot).encode()

    def version(self) -> int:
        """Return the version of systemd, 0 when it is not known."""
        found = re.match(r"systemd (\d+)", self.run(("systemctl", "--version")).text)
        return int(found[1]) if found else 0

    def answers(self) -> bool:
        """Ask for the manager's version, which needs its bus."""
        return self._ask("show", "--property=Version").code == 0

    def activate(self) -> None:
        """Reload the units, and enable and start ours."""
        for words in (("daemon-reload",), ("enable", "--quiet", UNIT), ("start", UNIT)):
            answer = self._ask(*words)
            if answer.code:
                raise ThvError(
                    f"systemd refuses: {' '.join((*self._program(), *words))}",
                    evidence=answer.text.splitlines(),
                    hint=f"{' '.join(self._program())} status {UNIT}",
                )

    def start(self) -> Answer:
        """Start the unit, also when it failed too often."""
        answer = self._ask("start", UNIT)
        if answer.code and self.answers():
            self._ask("reset-failed", UNIT)
            return self._ask("start", UNIT)
        return answer

    def deactivate(self) -> None:
        """Stop and disable the unit."""
        self._ask("disable", "--quiet", "--now", UNIT)

    def forget(self) -> None:
        """Reload the units."""
        self._ask("daemon-reload")
        self._ask("reset-failed", UNIT)

    def is_active(self) -> bool:
        """Ask whether the unit is active."""
        return self._ask("is-active", UNIT).text == "active"

    def by_hand(self) -> str:
        """Return two commands of systemctl."""
        program = " ".join(self._program())
        return f"{program} daemon-reload && {program} enable --now {UNIT}"

    def lingers(self) -> bool:
        """Look for the mark that logind leaves; the manager of the system needs none."""
        return not self.user or (self.lingering / self.user).exists()

    def since(self) -> str:
        """Say that it is boot, or between the first login and the end of the last session."""
        return "from boot on" if self.lingers() else "from your first login to the end of your last session"

    def before_login(self) -> str:
        """Return the command of logind."""
        return "" if self.lingers() else f"loginctl enable-linger {self.user}"

    def _program(self) -> tuple[str, ...]:
        return ("systemctl", "--user") if self.user else ("systemctl",)

    def _ask(self, *words: str) -> Answer:
        return self.run((*self._program(), *words))


@dataclass(frozen=True)
class Launchd(InitSystem):
    """launchd of macOS: an agent of the user, which runs from login on."""

    file: Path
    run: Told
    domain: str = field(default_factory=lambda: f"gui/{os.geteuid()}")
    name: str = "launchd"

    def content(self, boot: Boot) -> bytes:
        """Return the property list."""
        return launchd_plist(boot)

    def answers(self) -> bool:
        """Ask for the user's domain."""
        return self._ask("print", self.domain).code == 0

    def activate(self) -> None:
        """Load the agent anew, which starts it."""
        self._ask("bootout", self._target())
        answer = self._ask("bootstrap", self.domain, str(self.file))
        if answer.code:
            raise ThvError(
                f"launchd refuses: {self.by_hand()}",
                evidence=answer.text.splitlines(),
                hint=f"launchctl print {self._target()}",
            )

    def start(self) -> Answer:
        """Start the agent."""
        return self._ask("kickstart", self._target())

    def deactivate(self) -> None:
        """Stop and unload the agent."""
        self._ask("bootout", self._target())

    def forget(self) -> None:
        """Do nothing: an agent that is not loaded is forgotten."""

    def is_active(self) -> bool:
        """Ask whether the agent runs."""
        return "state = running" in self._ask("print", self._target()).text

    def by_hand(self) -> str:
        """Return the command that loads the agent."""
        return f"launchctl bootstrap {self.domain} {self.file}"

    def lingers(self) -> bool:
        """Say no: an agent belongs to a session."""
        return False

    def since(self) -> str:
        """Say that it is login."""
        return "from login on"

    def _target(self) -> str:
        return f"{self.domain}/{LABEL}"

    def _ask(self, *words: str) -> Answer:
        return self.run(("launchctl", *words))


def init_system(
    environment: Mapping[str, str], user: int | None = None, system: str = sys.platform, run: Told | None = None
) -> Systemd | Launchd:
    """Return the service manager of a user on a system; nothing is asked and nothing is made.

    :param user: the user's number, that of this process when ``None``; root has the manager of the system.
    :raises Unsupported: where there is none that thv knows, or no home of the user.
    """
    number = os.geteuid() if user is None else user
    speak = run or told(environment)
    home = environment.get("HOME", "")
    if system == "linux" and number == 0:
        return Systemd(SYSTEM_UNITS / UNIT, speak)
    if not home or system not in ("linux", "darwin"):
        raise Unsupported(
            "no service manager is here that thv knows", hint="Let your own run this in the foreground:  thv serve"
        )
    if system == "darwin":
        return Launchd(Path(home, "Library", "LaunchAgents", f"{LABEL}.plist"), speak)
    given = environment.get("XDG_CONFIG_HOME", "")
    config = Path(given) if given.startswith("/") else Path(home, ".config")
    return Systemd(config / "systemd" / "user" / UNIT, speak, user=_name(number))


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
