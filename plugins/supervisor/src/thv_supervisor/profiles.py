"""Find the permission profile that a user names: a built-in one, or a file."""

from __future__ import annotations

import re
from pathlib import Path

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import nearest
from thv_core.model.profile import BUILTIN_PROFILES, PermissionProfile, decode_profile

__all__ = ["here", "is_profile", "meant_profile", "profile_named", "read_text"]

MOST_TEXT = 8 << 20
"""Characters of a file that a person writes."""

_LIKE_A_FILE = re.compile(r"[/.]")


def profile_named(name_or_path: str, directory: Path) -> PermissionProfile:
    """Return the profile of a name, or the one in a file.

    :param directory: what a relative path is relative to.
    :raises InvalidRequest: when there is none, or the file cannot be read.
    :raises InvalidDocument: when the file is no profile; the message names it and the key.
    """
    if name_or_path in BUILTIN_PROFILES:
        return BUILTIN_PROFILES[name_or_path]
    if not _LIKE_A_FILE.search(name_or_path):
        raise InvalidRequest(
            f"there is no permission profile {name_or_path!r}",
            hint=f"{meant_profile(name_or_path)} Use none, network, or a file: ./team.json.".lstrip(),
        )
    profile = decode_profile(read_text(directory / name_or_path, name_or_path), name_or_path)
    if profile.privileged:
        raise InvalidDocument(
            f"{name_or_path}: privileged: no runtime here offers that", hint='Remove "privileged" from the profile.'
        )
    return profile


def meant_profile(name: str) -> str:
    """Return a hint with the profile of thv that ``name`` was probably meant to be, or nothing."""
    meant = nearest(name, tuple(BUILTIN_PROFILES))
    return f"Did you mean {meant}?" if meant else ""


def is_profile(name: str, directory: Path) -> bool:
    """Tell whether a name is meant as a profile where it could also be a workload, whose name may have dots."""
    if name in BUILTIN_PROFILES or "/" in name or name.endswith(".json"):
        return True
    return "." in name and (directory / name).is_file()


def read_text(path: Path, name: str) -> str:
    """Return the text of a file that the user called ``name``.

    :raises InvalidRequest: when it cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_TEXT + 1)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{name} cannot be read: {_unreadable(error)}") from None
    if len(text) > MOST_TEXT:
        raise InvalidRequest(f"{name} has more than {MOST_TEXT >> 20} MiB", hint="Is it the file that you mean?")
    return text


def here(directory: Path, name: str, spelled: str = "") -> Path:
    """Return the path of a file or folder that the user called ``name``, which may begin with a home, ``~``.

    :param directory: what a relative one is relative to.
    :param spelled: what it is part of, for messages.
    :raises InvalidRequest: when there is no such home.
    """
    try:
        return directory / Path(name).expanduser()
    except (RuntimeError, ValueError):
        raise InvalidRequest(f"{spelled or name}: there is no such home") from None


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
