"""References to secrets: ``NAME,target=ENV``, the name of a secret and the variable that receives its value."""

from __future__ import annotations

import re

from thv_core.errors import InvalidRequest
from thv_core.model.document import Document

__all__ = ["SHELL_PREFIX", "SecretReference", "secret_reference", "without_value"]

SHELL_PREFIX = "env:"
"""A secret named ``env:VARIABLE`` comes from the shell of the caller, not from the chosen store."""

_FORM = re.compile(r"(?P<name>[^,]+),target=(?P<target>.+)\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class SecretReference(Document, frozen=True, kw_only=True):
    """A secret by name and the environment variable of the server that receives it."""

    name: str
    target: str

    @property
    def from_shell(self) -> bool:
        """Whether the value comes from the shell of the caller."""
        return self.name.startswith(SHELL_PREFIX)


def without_value(text: str) -> str:
    """Return what can be shown of a malformed reference: behind ``=`` may be the secret itself, ``TOKEN=hunter2``."""
    name, separator, value = text.partition("=")
    return f"{name}{separator}{'…' if value else ''}"


def secret_reference(text: str) -> SecretReference:
    """Parse ``NAME,target=ENV``.

    :raises InvalidRequest: when it is not of that form, or the target is not a variable name.
    """
    match = _FORM.match(text)
    if match is None or not _VARIABLE.match(match["target"]):
        raise InvalidRequest(
            f"{without_value(text)!r} is not a secret reference",
            hint="Write NAME,target=VARIABLE, such as github,target=GITHUB_TOKEN.",
        )
    return SecretReference(name=match["name"], target=match["target"])
