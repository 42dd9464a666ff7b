"""Labels of workloads, ``KEY=VALUE``, of the form that Kubernetes asks for."""

from __future__ import annotations

import re

from thv_core.errors import InvalidRequest

__all__ = ["label", "valid_label"]

_PREFIX = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")


def label(text: str) -> tuple[str, str]:
    """Parse ``KEY=VALUE``.

    :raises InvalidRequest: when it is not of that form.
    """
    key, separator, value = text.partition("=")
    if not separator:
        raise InvalidRequest(f"label {text!r} is not KEY=VALUE", hint="Write it like  team=search.")
    valid_label(key, value)
    return key, value


def valid_label(key: str, value: str) -> None:
    """Check a label: a key with an optional DNS prefix before ``/``, and a value that may be empty.

    :raises InvalidRequest: naming the part that cannot be meant.
    """
    prefix, slash, word = key.rpartition("/")
    if not _WORD.match(word) or (slash and not _PREFIX.match(prefix)):
        raise InvalidRequest(
            f"{key!r} cannot be the key of a label",
            hint="Use up to 63 letters, digits, dots, dashes and underscores, a letter or digit at both ends.",
        )
    if value and not _WORD.match(value):
        raise InvalidRequest(
            f"{value!r} cannot be the value of the label {key}",
            hint="Use up to 63 letters, digits, dots, dashes and underscores, a letter or digit at both ends.",
        )
