"""Whether this machine can run a sandbox: a trial with the same isolation, and what is known of a refusal."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from thv_core.errors import RuntimeUnavailable
from thv_sandbox.accounts import Account
from thv_sandbox.binary import Bubblewrap, chosen
from thv_sandbox.descriptors import memory_file
from thv_sandbox.hints import Machine, hint, parsed_os_release
from thv_sandbox.seccomp import filter_program
from thv_sandbox.spawning import carried
from thv_sandbox.staging import Stage, on_a_stage
from thv_sandbox.view import ISOLATION

__all__ = ["installed", "look", "trial"]

_SECONDS = 5.0
_SETTINGS = (
    "user.max_user_namespaces",
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
)
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
_TRIAL = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", "true")


def installed(search_path: str, architecture: str) -> Bubblewrap:
    """Return the bubblewrap to use.

    :raises RuntimeUnavailable: when there is none, with a hint that fits this machine.
    """
    try:
        return chosen(search_path, architecture)
    except RuntimeUnavailable as error:
        advice = error.hint or hint(look(""))
        raise RuntimeUnavailable(error.message, evidence=error.evidence, hint=advice) from error


def trial(bubblewrap: Bubblewrap, architecture: str, account: Account) -> None:
    """Run ``true`` in a sandbox, as the account that servers would have.

    :raises RuntimeUnavailable: with what bubblewrap said, and a hint that fits this machine.
    """
    with memory_file(filter_program(architecture)) as seccomp:
        options = [*ISOLATION, "--seccomp", str(seccomp), *_TRIAL]
        if account.foreign:
            complaint = on_a_stage(lambda stage: _staged_complaint(bubblewrap, options, (seccomp, account), stage))
        else:
            complaint = _complaint([bubblewrap.path, *options], seccomp, account)
    if complaint:
        raise RuntimeUnavailable(
            "this machine refuses the sandbox",
            evidence=[bubblewrap.description, *complaint.splitlines()[-3:]],
            hint=hint(look(bubblewrap.origin)),
        )


def look(origin: str) -> Machine:
    """Look at this machine."""
    return Machine(
        os_release=parsed_os_release(_text("/etc/os-release") or _text("/usr/lib/os-release")),
        settings=_settings(),
        in_container=any(Path(mark).exists() for mark in _CONTAINER_MARKS),
        origin=origin,
    )


def _settings() -> dict[str, str]:
    values = {name: _text("/proc/sys/" + name.replace(".", "/")).strip() for name in _SETTINGS}
    return {name: value for name, value in values.items() if value}


def _staged_complaint(bubblewrap: Bubblewrap, options: list[str], run: tuple[int, Account], stage: Stage) -> str:
    with carried(bubblewrap) as (carriage, program):
        stage.place(carriage)
    return _complaint([program, *options], *run)


def _complaint(command: list[str], descriptor: int, account: Account) -> str:
    environment: Mapping[str, str] = {"PATH": "/usr/bin:/bin"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(descriptor,),
            timeout=_SECONDS,
            check=False,
            cwd="/",
            user=account.user,
            group=account.group,
            extra_groups=account.groups,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = done.stderr.decode("utf-8", "replace").strip()
    return "" if done.returncode == 0 else said or f"bubblewrap ended with {done.returncode}"


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text("utf-8", "replace")
    return ""
