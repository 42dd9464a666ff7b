"""Read an exported RunConfig: ours exactly as it is, ToolHive's as far as it can be honoured. Pure.

What a key asks for and cannot have is never passed over in silence: all of it is listed in one error, and left out only
when the user says so. No value of a key that may hold a secret is repeated in a message.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import convert_document, nearest
from thv_core.model.run_config import RunConfig, checked, decode_run_config
from thv_core.services.assembling import builtin_profile
from thv_core.services.located import Located, located
from thv_core.services.toolhive_image import package_image
from thv_core.services.toolhive_keys import (
    KNOWN_TO_TOOLHIVE,
    loopback_origins,
    mapping_of,
    says_something,
    unsupported,
)
from thv_core.services.toolhive_profile import imported_grants

__all__ = ["Imported", "imported"]

_OURS = frozenset(RunConfig.__struct_fields__)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PACKAGE_HINT = 'Name the package of the server in the document:  "image": "uvx://PACKAGE"  or npx://PACKAGE.'
_OF_TRANSPORT = ("MCP_TRANSPORT", "MCP_PORT", "FASTMCP_PORT", "MCP_HOST")
"""Variables that are computed anew for each start, by ToolHive as here."""

_USUAL_TTL = ("0s", "2h", "2h0m0s")


@dataclass(frozen=True)
class Imported:
    """A configuration, whose image may be unpinned, and in ``notes`` what its user should know of the import."""

    config: RunConfig
    notes: tuple[str, ...] = ()


def imported(text: str, origin: str, drop: bool = False) -> Imported:
    """Read an export.

    :param origin: the name of the file, for messages.
    :param drop: leave out what is not offered, and say so in the notes.
    :raises InvalidDocument: naming what is unknown, or listing everything that is not offered.
    """
    try:
        config = decode_run_config(text, origin)
    except InvalidDocument as error:
        found = _of_toolhive(text, origin)
        if found is None:
            raise error from None
    else:
        _refuse_doubles(text, origin)
        found = None if "://" in config.image or config.remote_url else _of_toolhive(text, origin)
        if found is None:
            return Imported(config)
    reading = _Reading(found, origin)
    reading.read()
    return reading.result(drop)


def _refuse_doubles(text: str, origin: str) -> None:
    """Refuse a key that is there twice: its reader sees the first, and what is decoded is the last."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                raise InvalidDocument(f"{origin}: {key} is there twice", hint="Leave one of them out.")
            found[key] = value
        return found

    try:
        json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise InvalidDocument(f"{origin} is nested too deeply", hint="Nest it less deeply.") from None


def _of_toolhive(text: str, origin: str) -> Located | None:
    """Return the document if it is one of ToolHive: it has a key that only ToolHive has, or an image of a container."""
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return None
    try:
        (found,) = located(text, origin)
    except (InvalidDocument, ValueError):
        return None
    data = mapping_of(found.data)
    image = data.get("image")
    of_container = isinstance(image, str) and bool(image) and "://" not in image
    return found if of_container or data.keys() & KNOWN_TO_TOOLHIVE else None


@dataclass
class _Reading:
    """One document of ToolHive that is read, and what was found in it.

    ``kept`` is plain data for a RunConfig, ``left`` says what can be left out, ``barred`` what cannot,
    and ``way_out`` what to do about that.
    """

    found: Located
    origin: str
    kept: dict[str, object] = field(default_factory=dict[str, object])
    left: list[str] = field(default_factory=list[str])
    barred: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    way_out: str = ""

    def read(self) -> None:
        data = mapping_of(self.found.data)
        for key, value in data.items():
            if key not in _OURS | KNOWN_TO_TOOLHIVE:
                raise self._unknown(key)
            if key in _OURS and value:
                self.kept[key] = value
            elif reason := unsupported(key, value):
                self._leave(key, reason)
        self._name()
        self._server()
        self._address()
        self._serving()
        self._environment()
        self._grants()

    def result(self, drop: bool) -> Imported:
        if self.barred or (self.left and not drop):
            self._refuse()
        try:
            config = checked(convert_document(self.kept, RunConfig, self.origin, self.found.said))
        except InvalidDocument:
            raise
        except InvalidRequest as error:
            raise InvalidDocument(f"{self.origin}: {error.message}", hint=error.hint) from None
        return Imported(config, (*(f"left out: {each}" for each in self.left), *self.notes))

    def _refuse(self) -> None:
        hint = self.way_out or "Leave it out of the import with --drop-unsupported."
        raise InvalidDocument(
            f"{self.origin} asks for what is not offered yet", evidence=[*self.barred, *self.left], hint=hint
        )

    def _unknown(self, key: str) -> InvalidDocument:
        meant = nearest(key, sorted(_OURS | KNOWN_TO_TOOLHIVE))
        hint = f"Did you mean {meant}?" if meant else f"Known keys: {', '.join(sorted(_OURS))}."
        return InvalidDocument(f"{self.origin}: {key} is not a known key{self.found.said(key)}", hint=hint)

    def _leave(self, path: str, reason: str) -> None:
        self.left.append(f"{path}{self.found.said(path)}: {reason}")

    def _bar(self, path: str, reason: str, way_out: str = _PACKAGE_HINT) -> None:
        self.way_out = self.way_out or way_out
        self.barred.append(f"{path}{self.found.said(path)}: {reason}")

    def _name(self) -> None:
        data = mapping_of(self.found.data)
        names = [data[key] for key in ("name", "container_name", "base_name") if data.get(key)]
        if names:
            self.kept["name"] = names[0]

    def _server(self) -> None:
        if self.kept.get("remote_url"):
            # What ToolHive writes of a server that it does not run, whether it means anything or not.
            for key in ("target_port", "permission_profile", "permission_profile_name_or_path"):
                self.kept.pop(key, None)
            return
        image = self.kept.get("image")
        if isinstance(image, str) and "://" not in image:
            reference, note = package_image(image)
            self.kept["image"] = reference
            self.notes += [note] if note else []
            if not reference:
                self._bar("image", f"{image} is the image of a container, and packages only are offered yet")

    def _address(self) -> None:
        transport = self.kept.get("transport", "stdio")
        if transport == "inspector":
            way_out = "Write into the document how the server speaks:  stdio, sse or streamable-http."
            self._bar("transport", f"servers that speak {transport} are not offered yet", way_out)
        if transport == "stdio":
            self.kept.pop("target_port", None)
        host = self.kept.get("host")
        if isinstance(host, str) and host not in _LOOPBACK:
            del self.kept["host"]
            self._leave("host", f"nothing listens at {host} without authentication")

    def _serving(self) -> None:
        """Keep how clients meet it, without what ToolHive writes whether it means anything or not."""
        if self.kept.get("transport", "stdio") != "stdio":
            self.kept.pop("proxy_mode", None)
        if loopback_origins(self.kept.get("allowed_origins")):
            del self.kept["allowed_origins"]
        if self.kept.get("session_ttl") in _USUAL_TTL:
            del self.kept["session_ttl"]
        if not self.kept.get("remote_url"):
            if says_something(self.kept.get("header_forward")):
                self._leave("header_forward", "nothing is added to the requests to a server that runs here")
            self.kept.pop("header_forward", None)
        scaling = mapping_of(self.kept.get("scaling_config"))
        if scaling.get("backend_replicas") not in (None, 0, 1):
            self._leave("scaling_config.backend_replicas", "a server runs once")
        if scaling:
            self.kept["scaling_config"] = {key: scaling[key] for key in scaling if key != "backend_replicas"}

    def _environment(self) -> None:
        variables = mapping_of(self.kept.get("env_vars"))
        if variables:
            self.kept["env_vars"] = {name: each for name, each in variables.items() if name not in _OF_TRANSPORT}
        labels = mapping_of(self.kept.get("container_labels"))
        if labels:
            mine = {name: each for name, each in labels.items() if not name.startswith("toolhive")}
            self.kept["container_labels"] = mine

    def _grants(self) -> None:
        if self.kept.get("remote_url"):
            return
        found = imported_grants(self.kept.get("permission_profile"), self.kept.get("volumes"))
        for path, reason in found.left:
            self._leave(path, reason)
        self.notes += found.notes
        if isinstance(self.kept.get("volumes"), list):
            self.kept["volumes"] = found.volumes
        if found.profile is None:
            self._named_profile()
        else:
            self.kept["permission_profile"] = found.profile

    def _named_profile(self) -> None:
        named = self.kept.get("permission_profile_name_or_path")
        if named is None:
            self.notes.append(
                "it has no permission profile and is granted nothing; ToolHive would let it reach any host"
            )
            return
        try:
            # An alias of old.
            self.kept["permission_profile"] = builtin_profile("none" if named == "stdio" else str(named))
        except InvalidRequest:
            del self.kept["permission_profile_name_or_path"]
            reason = f"the file {named} is not in the document, so that nothing is granted"
            self._leave("permission_profile_name_or_path", reason)
