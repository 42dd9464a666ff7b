"""Read the permission profile and the volumes of ToolHive's RunConfig as far as they can be honoured. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from thv_core.errors import InvalidRequest
from thv_core.model.profile import Grant, grant, volume

__all__ = ["ImportedGrants", "imported_grants"]

_MODES = ("", "none", "bridge")
_PRIVILEGED = "no server gets the rights of the machine"
_RELATIVE = "only absolute paths of this machine can be granted"
_IGNORE_FILES = "files that a .thvignore hid from the server are visible to it: such files are not read yet"
_ANY_PORT = "hosts without ports are reached at ports 80 and 443, and in ToolHive at any: write HOST:PORT for others"


@dataclass
class ImportedGrants:
    """What became of a profile and of volumes: plain data, what was left out with its reason, by path, and notes.

    ``profile`` is ``None`` when there was none.
    """

    profile: object = None
    volumes: list[object] = field(default_factory=list[object])
    left: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    notes: list[str] = field(default_factory=list[str])


def imported_grants(profile: object, volumes: object) -> ImportedGrants:
    """Return what can be honoured; data that is of no possible type stays as it is, for whoever checks it then."""
    said = _said(profile)
    found = ImportedGrants(profile=said)
    found.volumes = _mounts(volumes, "volumes", found)
    if isinstance(said, dict):
        found.profile = _profile(cast("dict[str, object]", said), found)
    if found.volumes or _any_mount(found.profile):
        found.notes.append(_IGNORE_FILES)
    return found


def _profile(profile: dict[str, object], found: ImportedGrants) -> dict[str, object]:
    # It was a key once, and ToolHive has passed over it since.
    profile.pop("allow_transport", None)
    if profile.pop("privileged", False):
        found.left.append(("permission_profile.privileged", _PRIVILEGED))
    # ToolHive writes each volume into the profile, too.
    granted = [_granted(each, volume) for each in found.volumes]
    for key, writable in (("read", False), ("write", True)):
        mounts = _mounts(profile.pop(key, None), f"permission_profile.{key}", found)
        kept = [each for each in mounts if _is_new(_mount(each, writable), granted)]
        profile |= {key: kept} if kept else {}
    network = profile.get("network")
    if isinstance(network, dict):
        _network(cast("dict[str, object]", network), found)
    return profile


def _network(network: dict[str, object], found: ImportedGrants) -> None:
    mode = network.get("mode")
    if isinstance(mode, str) and mode not in _MODES:
        del network["mode"]
        reason = f"a server has a network of its own, and not {mode}"
        found.left.append(("permission_profile.network.mode", reason))
    outbound = network.get("outbound")
    if isinstance(outbound, dict):
        said = cast("dict[str, object]", outbound)
        if said.get("allow_host") and not said.get("allow_port") and not said.get("insecure_allow_all"):
            found.notes.append(_ANY_PORT)


def _said(value: object) -> object:
    """Return a copy without what is null, which says nothing in ToolHive."""
    if not isinstance(value, dict):
        return value
    entries = cast("dict[str, object]", value).items()
    return {key: _said(each) for key, each in entries if each is not None}


def _mounts(values: object, path: str, found: ImportedGrants) -> list[object]:
    """Return those that name absolute paths; the others are left."""
    kept: list[object] = []
    for each in cast("list[object]", values) if isinstance(values, list) else []:
        if isinstance(each, str) and ("://" in each or not each.startswith("/")):
            found.left.append((path, f"{each} is not granted: {_RELATIVE}"))
        else:
            kept.append(each)
    return kept


def _mount(value: object, writable: bool) -> Grant | None:
    return _granted(value, lambda text: grant(text, writable=writable))


def _is_new(mount: Grant | None, granted: list[Grant | None]) -> bool:
    return mount is None or mount not in granted


def _granted(value: object, parse: Callable[[str], Grant]) -> Grant | None:
    """Return what a mount grants, or nothing when whoever checks it will refuse it."""
    try:
        return parse(value) if isinstance(value, str) else None
    except InvalidRequest:
        return None


def _any_mount(profile: object) -> bool:
    granting = cast("dict[str, object]", profile) if isinstance(profile, dict) else {}
    return bool(granting.get("read") or granting.get("write"))
