"""Read a manifest, the RunConfigs that a user wants to run, and compare it with what there is. Pure.

A manifest is YAML 1.2 or JSON; several documents may follow each other behind ``---``. Each is one of::

    groups: [search, billing]         a list of RunConfigs:      one RunConfig:
    workloads:                        - name: time               name: time
      - name: time                      image: uvx://…           image: uvx://mcp-server-time
        image: uvx://mcp-server-time
        group: search

In a RunConfig of a manifest ``name`` may be left out, and is derived from the image; ``image`` need not name a version,
and keeps the one that runs, also with a tag such as ``latest``; ``permission_profile_name_or_path`` alone gives the
profile of that name. ``port`` and ``runtime`` that are left out stay as they were chosen. ``groups`` are created when
they do not exist. Secrets are references, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar, cast

import msgspec

from thv_core.errors import InvalidDocument, InvalidRequest, NotFound
from thv_core.model.document import Document, convert_document, nearest
from thv_core.model.elsewhere import is_url, url_name
from thv_core.model.group import DEFAULT_GROUP, valid_group
from thv_core.model.names import derived_name
from thv_core.model.profile import PermissionProfile
from thv_core.model.run_config import RunConfig, checked
from thv_core.services.assembling import builtin_profile, is_pinned, same_package, scheme_of
from thv_core.services.differing import differences
from thv_core.services.located import KeyPath, Located, located

__all__ = ["Change", "ChangeKind", "Manifest", "changes", "decode_manifest", "merged"]

A = TypeVar("A")
B = TypeVar("B")
ProfileNamed = Callable[[str], PermissionProfile]
Resolved = Callable[[RunConfig], RunConfig]


def _as_written(config: RunConfig) -> RunConfig:
    return config


@dataclass(frozen=True)
class Manifest:
    """What is wanted: groups that shall exist, and workloads in the order in which they are written.

    ``places`` says for messages where each workload stands, ``team.yaml, line 3``.
    """

    groups: tuple[str, ...] = ()
    workloads: tuple[RunConfig, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict[str, str])


class ChangeKind(StrEnum):
    """What is to be done about one workload."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    """What is to be done about the workload ``name``, and in ``lines`` what differs.

    ``config`` is what shall run, with everything that is kept of what runs; the image of a new package may be unpinned.
    It is ``None`` for a workload that is to be removed.
    """

    name: str
    kind: ChangeKind
    lines: tuple[str, ...] = ()
    config: RunConfig | None = None


class _Root(Document, frozen=True, kw_only=True):
    """The form of a whole manifest."""

    groups: tuple[str, ...] = ()
    workloads: tuple[dict[str, object], ...] = ()


def decode_manifest(
    text: str, origin: str, profile: ProfileNamed = builtin_profile, resolved: Resolved = _as_written
) -> Manifest:
    """Read a manifest.

    :param origin: the name of the file, for messages.
    :param profile: returns the permission profile that a workload names, of which only the built-in ones need no file.
    :param resolved: returns a workload with its relative paths made absolute, which only whoever reads the file can.
    :raises InvalidDocument: naming the line and the nearest known key.
    """
    reading = _Reading(origin, profile, resolved)
    return merged(reading.manifest(each) for each in located(text, origin) if each.data is not None)


def merged(manifests: Iterable[Manifest]) -> Manifest:
    """Return several manifests as one.

    :raises InvalidDocument: when two workloads have one name, or ask for one port; the evidence is where.
    """
    groups: dict[str, None] = {}
    workloads: list[RunConfig] = []
    places: dict[str, str] = {}
    ports: dict[int, str] = {}
    for manifest in manifests:
        groups |= dict.fromkeys(manifest.groups)
        for config in manifest.workloads:
            place = manifest.places.get(config.name, "")
            if config.name in places:
                raise _twice(f"the workload {config.name} is there twice", places[config.name], place)
            if config.port in ports:
                other = ports[config.port]
                raise _twice(f"{other} and {config.name} ask for port {config.port}", places[other], place)
            places[config.name] = place
            if config.port:
                ports[config.port] = config.name
            workloads.append(config)
    return Manifest(tuple(groups), tuple(workloads), places)


def changes(
    manifest: Manifest, current: Mapping[str, RunConfig], groups: Collection[str], prune: bool = False
) -> list[Change]:
    """Return what is to be done about each workload: in the order of the manifest, then what is removed by name.

    :param current: the configuration of each workload that there is.
    :param groups: the groups that there are.
    :param prune: remove what is in a group that the manifest names or uses, and not in the manifest.
    :raises NotFound: when a workload is in a group that neither exists nor is named by the manifest.
    """
    for config in manifest.workloads:
        _in_a_group(config, manifest, groups)
    found = [_change(config, current.get(config.name)) for config in manifest.workloads]
    pruned = {*manifest.groups, *(config.group for config in manifest.workloads)} if prune else set[str]()
    wanted = {config.name for config in manifest.workloads}
    gone = (name for name in sorted(current) if name not in wanted and current[name].group in pruned)
    return [*found, *(Change(name, ChangeKind.REMOVED, (f"image: {current[name].image}",)) for name in gone)]


def _in_a_group(config: RunConfig, manifest: Manifest, groups: Collection[str]) -> None:
    known = {DEFAULT_GROUP, *groups, *manifest.groups}
    if config.group in known:
        return
    place = manifest.places.get(config.name, "")
    meant = nearest(config.group, sorted(known))
    raise NotFound(
        f"group '{config.group}' does not exist",
        evidence=[f"{config.name} is in it{f' ({place})' if place else ''}"],
        hint=f"{f'Did you mean {meant}? ' if meant else ''}A manifest creates it with  groups: [{config.group}]",
    )


def _change(wanted: RunConfig, current: RunConfig | None) -> Change:
    if current is None:
        nothing = RunConfig(name=wanted.name, image="")
        return Change(wanted.name, ChangeKind.NEW, differences(nothing, wanted), wanted)
    config = _completed(wanted, current)
    kind = ChangeKind.UNCHANGED if config == current else ChangeKind.CHANGED
    return Change(wanted.name, kind, differences(current, config), config)


def _completed(wanted: RunConfig, current: RunConfig) -> RunConfig:
    """Return what is wanted, with what the system chose before where the manifest leaves the choice to it."""
    keeps_version = not is_pinned(wanted.image) and same_package(wanted.image, current.image)
    return msgspec.structs.replace(
        wanted,
        port=wanted.port or current.port,
        runtime=wanted.runtime or current.runtime,
        image=current.image if keeps_version else wanted.image,
    )


@dataclass(frozen=True)
class _Reading:
    """One file that is read, and how it names profiles and paths."""

    origin: str
    profile: ProfileNamed
    resolved: Resolved

    def manifest(self, found: Located) -> Manifest:
        data = found.data
        if isinstance(data, list):
            entries = cast("list[object]", data)
            return merged(self._one(each, found, (place,)) for place, each in enumerate(entries))
        if not isinstance(data, dict):
            raise InvalidDocument(
                f"{self.origin} is no manifest{found.said('')}", hint="Write  workloads:  and a list below it."
            )
        mapping = cast("dict[str, object]", data)
        if mapping.keys() & set(RunConfig.__struct_fields__):
            return self._one(mapping, found, ())
        return self._whole(mapping, found)

    def _whole(self, data: Mapping[str, object], found: Located) -> Manifest:
        said = {key: value for key, value in data.items() if value is not None}
        root = convert_document(said, _Root, self.origin, found.said)
        for place, group in enumerate(root.groups):
            self._checked(found.said(f"groups[{place}]"), valid_group, group)
        entries = [self._one(each, found, ("workloads", place)) for place, each in enumerate(root.workloads)]
        return merged([Manifest(root.groups), *entries])

    def _one(self, data: object, found: Located, path: KeyPath) -> Manifest:
        part = found.within(data, path)
        if not isinstance(data, dict):
            raise InvalidDocument(
                f"{self.origin}: a workload must be a mapping of keys to values{part.said('')}",
                hint="Write  - image: uvx://PACKAGE",
            )
        config = self._config(cast("dict[str, object]", data), part)
        return Manifest((), (config,), {config.name: f"{self.origin}, line {part.line(())}"})

    def _config(self, data: Mapping[str, object], part: Located) -> RunConfig:
        # A key without a value says nothing.
        said = {key: value for key, value in data.items() if value is not None}
        image = said.get("image") or said.get("remote_url")
        where = part.said("")
        if "name" not in said and isinstance(image, str):
            derived = url_name if is_url(image) else derived_name
            said["name"] = self._checked(part.said("image"), derived, image)
        config = convert_document(said, RunConfig, self.origin, part.said)
        if not image:
            raise InvalidDocument(f"{self.origin}: image is missing{where}", hint="Write  image: uvx://PACKAGE")
        if not config.remote_url:
            self._checked(part.said("image"), scheme_of, config.image)
        named = config.permission_profile_name_or_path
        if named and "permission_profile" not in said:
            profile = self._checked(part.said("permission_profile_name_or_path"), self.profile, named)
            config = msgspec.structs.replace(config, permission_profile=profile)
        return self._checked(where, checked, self._checked(where, self.resolved, config))

    def _checked(self, where: str, check: Callable[[A], B], value: A) -> B:
        try:
            return check(value)
        except InvalidRequest as error:
            raise InvalidDocument(
                f"{self.origin}: {error.message}{where}", evidence=error.evidence, hint=error.hint
            ) from None


def _twice(message: str, first: str, second: str) -> InvalidDocument:
    return InvalidDocument(message, evidence=[place for place in (first, second) if place], hint="Change one of them.")
