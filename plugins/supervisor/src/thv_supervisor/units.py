"""What tells a service manager to run the processes of thv: a unit of systemd, a property list of launchd. Pure.

Sources: systemd.syntax(7), systemd.service(5), systemd.exec(5), systemd.resource-control(5), launchd.plist(5).
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from thv_core.errors import InvalidRequest
from thv_supervisor.network_variables import network_variables

__all__ = ["LABEL", "UNIT", "Boot", "launchd_plist", "quoted", "serves", "systemd_unit", "unit_environment", "withheld"]

UNIT = "thv.service"
"""The name of the unit of systemd."""

LABEL = "thv.supervisor"
"""The label of the agent of launchd."""

MODULE = "thv_supervisor.supervise"

SUBGROUPS_SINCE = 254
"""The version of systemd that can put a service below its own control group, so that its servers can be limited."""

_PLACES = ("THV_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "PATH")
_OF_ROOT = ("HOME", *_PLACES)
_CREDENTIAL_NAME = re.compile(r"PASSWORD|TOKEN|USERNAME|SECRET|CREDENTIAL|_KEY\Z|_AUTH\Z", re.IGNORECASE)
_CREDENTIAL_VALUE = re.compile(r"://[^/]*@|^[^/]*:[^/]*@|://\S*\?\S*=")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ODD_PROGRAM = re.compile(r"[\"'\\]")
_BY_SHELL = ("/bin/sh", "-c", 'exec "$0" "$@"')


@dataclass(frozen=True)
class Boot:
    """What is to run from boot on: ``command`` is the argument vector of the supervisor, ``log`` where it writes.

    ``personal`` tells that the service manager is that of a user and ends with their last session, unless they linger.
    ``version`` is that of systemd.
    """

    command: tuple[str, ...]
    log: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    personal: bool = True
    version: int = 0


def unit_environment(environment: Mapping[str, str], personal: bool) -> dict[str, str]:
    """Return what the processes need of a shell's variables, without anything that could be a secret.

    ``PATH`` is among it, because a service manager's own finds no Node or bubblewrap of the user's.
    """
    chosen = _PLACES if personal else _OF_ROOT
    places = {name: environment[name] for name in chosen if environment.get(name)}
    reached = network_variables(environment)
    return {**places, **{name: reached[name] for name in sorted(reached) if not _is_credential(name, reached[name])}}


def withheld(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that matter, and that no file may hold, because they carry credentials."""
    return sorted(name for name, value in network_variables(environment).items() if _is_credential(name, value))


def systemd_unit(boot: Boot) -> str:
    """Return the text of the unit.

    ``KillMode=process`` and ``OOMPolicy=continue`` let servers live on when the supervisor ends, and when one of them
    used too much memory. The supervisor ends with 0 when it was asked to, and then stays away.
    """
    target = "default.target" if boot.personal else "multi-user.target"
    subgroup = ["DelegateSubgroup=processes"] if boot.version >= SUBGROUPS_SINCE else []
    lines = [
        "# Written by: thv service install. Removed by: thv service uninstall.",
        "[Unit]",
        "Description=thv, which runs MCP servers in isolation",
        "StartLimitIntervalSec=60",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={_exec_start(boot.command)}",
        *(f"Environment={quoted(f'{name}={value}')}" for name, value in boot.environment.items()),
        "KillMode=process",
        "Delegate=yes",
        *subgroup,
        "OOMPolicy=continue",
        "Restart=on-failure",
        "RestartSec=1",
        "TimeoutStopSec=30",
        "UMask=0077",
        f"StandardOutput=append:{_plain(boot.log)}",
        f"StandardError=append:{_plain(boot.log)}",
        "",
        "[Install]",
        f"WantedBy={target}",
    ]
    return "\n".join(lines) + "\n"


def serves(text: str, state: str) -> bool:
    """Tell whether the text of a unit, or of a property list, runs the supervisor of a state directory."""
    ending = f" -P -m {MODULE} {quoted(state)}"
    if any(line.startswith("ExecStart=") and line.endswith(ending) for line in text.split("\n")):
        return True
    try:
        described = plistlib.loads(text.encode())
        return list(described["ProgramArguments"][-2:]) == [MODULE, state]
    except (plistlib.InvalidFileException, ValueError, KeyError, TypeError, IndexError):
        return False


def quoted(word: str) -> str:
    """Return one word as systemd reads it back: specifiers doubled, and in quotes where it needs them.

    :raises InvalidRequest: when it holds a control character, which no line of a unit can.
    """
    _refuse_control(word)
    escaped = word.replace("%", "%%")
    if word and not re.search(r"[\s\"'\\;]", word):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def launchd_plist(boot: Boot) -> bytes:
    """Return the property list of the agent; ``AbandonProcessGroup`` lets servers live on when the supervisor ends."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(boot.command),
            "EnvironmentVariables": dict(boot.environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "AbandonProcessGroup": True,
            "ThrottleInterval": 5,
            "ExitTimeOut": 30,
            "Umask": 0o077,
            "StandardOutPath": boot.log,
            "StandardErrorPath": boot.log,
        },
        sort_keys=False,
    )


def _exec_start(command: Sequence[str]) -> str:
    # systemd refuses a program whose path has quotes, and replaces variables unless a colon forbids it.
    words = (*_BY_SHELL, *command) if _ODD_PROGRAM.search(command[0]) else tuple(command)
    literal = ":" if any("$" in word for word in words) else ""
    return literal + " ".join(quoted(word) for word in words)


def _plain(path: str) -> str:
    _refuse_control(path)
    return path.replace("%", "%%")


def _refuse_control(text: str) -> None:
    if _CONTROL.search(text):
        raise InvalidRequest(
            f"{text!r} has a character that no service file can hold", hint="Use another folder, or value."
        )


def _is_credential(name: str, value: str) -> bool:
    return bool(_CREDENTIAL_NAME.search(name) or _CREDENTIAL_VALUE.search(value))
