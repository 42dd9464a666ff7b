"""Every deliberate error of thv: what failed, the evidence, and what to do.

Each class owns its exit code and its ``code``, the stable word by which the control API and ``--format json``
name it. ``message`` is one sentence without a trailing full stop, ``evidence`` is lines shown indented below it,
``hint`` says what to do next and is a command where a command can help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Forbidden",
    "InvalidDocument",
    "InvalidRequest",
    "NotFound",
    "NotReady",
    "PackageNotFound",
    "PluginBroken",
    "PluginNotFound",
    "PluginRefused",
    "PortUnavailable",
    "PreparationFailed",
    "RolledBack",
    "RuntimeUnavailable",
    "SecretNotFound",
    "SecretStoreFailed",
    "SettingsError",
    "StartFailed",
    "StateUnusable",
    "ThvError",
    "TimedOut",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
    "error_from_document",
]


class ThvError(Exception):
    """The root of every error that a user is meant to read."""

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, evidence: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.evidence = tuple(evidence)
        self.hint = hint

    def document(self) -> dict[str, object]:
        """Return the error as plain data: ``{"code", "message", "evidence", "hint"}``."""
        return {"code": self.code, "message": self.message, "evidence": list(self.evidence), "hint": self.hint}

    def __str__(self) -> str:
        return "\n".join(
            [self.message, *(f"  {line}" for line in self.evidence), *([f"  {self.hint}"] if self.hint else [])]
        )


class InvalidRequest(ThvError):
    """What the user asked for cannot be meant: a bad flag, name, port or combination."""

    code = "invalid-request"
    exit_code = 2


class InvalidDocument(InvalidRequest):
    """A file or body does not parse, or has an unknown or ill-typed key."""

    code = "invalid-document"


class SettingsError(InvalidRequest):
    """A setting in ``config.yaml`` is unknown or has a wrong value; the message names its key path."""

    code = "invalid-settings"


class NotFound(ThvError):
    """A named thing does not exist."""

    code = "not-found"


class AlreadyExists(ThvError):
    """A named thing exists already."""

    code = "already-exists"


class Conflict(ThvError):
    """Something else is under way that excludes this."""

    code = "conflict"


class Unauthorized(ThvError):
    """A request to the API carries no token, or a wrong one."""

    code = "unauthorized"


class Forbidden(ThvError):
    """A request to the API comes from where none may come."""

    code = "forbidden"


class RolledBack(ThvError):
    """A change did not become ready, and what was before it runs again; the evidence is why."""

    code = "rolled-back"


class PackageNotFound(NotFound):
    """A package index has no package, or no version, of that name."""

    code = "package-not-found"


class PreparationFailed(ThvError):
    """A package or image could not be made ready to run."""

    code = "preparation-failed"


class PortUnavailable(ThvError):
    """A requested port is taken or cannot be bound."""

    code = "port-unavailable"


class RuntimeUnavailable(ThvError):
    """A runtime cannot isolate a server on this machine; the hint says what to install or set."""

    code = "runtime-unavailable"


class Unsupported(ThvError):
    """A driver was asked for something that its capabilities exclude."""

    code = "unsupported"


class StartFailed(ThvError):
    """A server did not become ready; the evidence is its last lines."""

    code = "start-failed"


class SecretNotFound(NotFound):
    """A secret store has no secret of that name."""

    code = "secret-not-found"


class SecretStoreFailed(ThvError):
    """A secret store could not be read or written."""

    code = "secret-store-failed"


class PluginNotFound(ThvError):
    """No installed distribution offers a plugin of that kind and name."""

    code = "plugin-not-found"


class PluginRefused(ThvError):
    """A plugin is disabled, incompatible, malformed, or offered by two distributions; it was not imported."""

    code = "plugin-refused"


class PluginBroken(ThvError):
    """A plugin's import, construction or signature failed; the message names its distribution."""

    code = "plugin-broken"


class TimedOut(ThvError):
    """Something did not finish within its time limit."""

    code = "timed-out"


class Unavailable(ThvError):
    """A process of thv does not answer."""

    code = "unavailable"


class NotReady(ThvError):
    """A process is about to be replaced; the caller asks again in a moment."""

    code = "not-ready"


class StateUnusable(ThvError):
    """The state on disk is damaged, or was written by a newer version."""

    code = "state-unusable"


def _classes(root: type[ThvError]) -> dict[str, type[ThvError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        # A plugin's subclass without a code of its own must not take the place of its parent.
        found = _classes(child) | found
    return found


def error_from_document(document: dict[str, object]) -> ThvError:
    """Rebuild the error that :meth:`ThvError.document` described; an unknown code becomes a plain ``ThvError``."""
    evidence = cast("list[object]", document.get("evidence") or [])
    lines = [str(line) for line in evidence]
    error_class = _classes(ThvError).get(str(document.get("code")), ThvError)
    return error_class(str(document.get("message", "")), evidence=lines, hint=str(document.get("hint", "")))
