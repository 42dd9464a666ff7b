"""Read the manifests that a user names: files, and folders of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.profile import PermissionProfile
from thv_core.model.run_config import RunConfig
from thv_core.services.manifest import Manifest, decode_manifest, merged
from thv_supervisor.profiles import here, profile_named, read_text
from thv_supervisor.real_paths import with_real_paths

__all__ = ["manifest_of"]

ENDINGS = (".yaml", ".yml", ".json")


def manifest_of(names: Iterable[str], directory: Path) -> Manifest:
    """Return what the files and folders say together, with every path real.

    Relative paths in a file, and profiles that are files, are relative to its folder.

    :param directory: what the names are relative to.
    :raises InvalidRequest: when one cannot be read, or a path that is granted does not exist.
    :raises InvalidDocument: when one is no manifest, or two have one workload.
    """
    whole = merged(_decoded(path, name) for each in names for path, name in _files(each, directory))
    return Manifest(whole.groups, tuple(_real(config, whole) for config in whole.workloads), whole.places)


def _files(name: str, directory: Path) -> Iterator[tuple[Path, str]]:
    path = here(directory, name)
    try:
        found = sorted(each for each in path.iterdir() if each.suffix in ENDINGS and each.is_file())
    except NotADirectoryError:
        yield path, name
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidRequest(f"{name} cannot be read: {reason}") from None
    if not found:
        raise InvalidRequest(f"{name} has no manifest in it", hint="A manifest ends in .yaml, .yml or .json.")
    for each in found:
        yield each, str(Path(name, each.name))


def _decoded(path: Path, name: str) -> Manifest:
    folder = path.parent.absolute()

    def profile(named: str) -> PermissionProfile:
        return profile_named(named, folder)

    return decode_manifest(read_text(path, name), name, profile, lambda config: _absolute(config, folder))


def _absolute(config: RunConfig, folder: Path) -> RunConfig:
    profile = config.permission_profile
    granted = msgspec.structs.replace(
        profile,
        read=tuple(_beside(text, folder) for text in profile.read),
        write=tuple(_beside(text, folder) for text in profile.write),
    )
    volumes = tuple(_beside(text, folder) for text in config.volumes)
    paths = {key: _beside(getattr(config, key), folder) for key in ("tls_certificate", "tls_key", "socket")}
    return msgspec.structs.replace(config, permission_profile=granted, volumes=volumes, **paths)


def _beside(text: str, folder: Path) -> str:
    """Return a mount or volume with its path of this machine made absolute; one that has none stays what it is."""
    source, colon, rest = text.partition(":")
    if not source:
        return text
    return f"{here(folder, source, text).absolute()}{colon}{rest}"


def _real(config: RunConfig, manifest: Manifest) -> RunConfig:
    try:
        return with_real_paths(config)
    except InvalidRequest as error:
        raise InvalidDocument(f"{manifest.places[config.name]}: {error.message}", hint=error.hint) from None
