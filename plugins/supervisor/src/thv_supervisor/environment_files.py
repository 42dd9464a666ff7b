"""Read variables from files: lines ``KEY=VALUE`` as shells and other tools write them."""

from __future__ import annotations

import re
from pathlib import Path

from thv_core.errors import InvalidRequest
from thv_supervisor.profiles import read_text

__all__ = ["variables_of_directory", "variables_of_file"]

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)\Z", re.DOTALL)
_DOUBLE = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(?:#.*)?\Z', re.DOTALL)
_SINGLE = re.compile(r"'(?P<text>[^']*)'\s*(?:#.*)?\Z", re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s+)#.*\Z", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MEANT = {"n": "\n", "r": "\r", "t": "\t"}


def variables_of_file(path: Path, spelled: str) -> dict[str, str]:
    r"""Read a file of lines ``KEY=VALUE``.

    Empty lines and those that begin with ``#`` say nothing, ``export`` before a name is passed over, and ``#`` behind a
    blank ends a value. A value in quotes keeps its blanks; between double quotes ``\n``, ``\t``, ``\"`` and ``\\``
    mean what they do in a shell's ``$'…'``. Nothing is replaced by the variables of anybody.

    :param spelled: the flag and name by which the user knows the file.
    :raises InvalidRequest: when it cannot be read, or naming the first line that is not of that form.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path, spelled).split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.match(text)
        if match is None:
            raise InvalidRequest(
                f"{spelled}: line {number} is not KEY=VALUE", hint="Write KEY=VALUE, and # before a comment."
            )
        found[match["name"]] = _value(match["value"], f"{spelled}: line {number}")
    return found


def variables_of_directory(path: Path, spelled: str) -> dict[str, str]:
    """Read every file of a directory, in the order of their names; hidden files and directories are passed over.

    :raises InvalidRequest: when it cannot be read, or as for :func:`variables_of_file`.
    """
    try:
        files = sorted(each for each in path.iterdir() if not each.name.startswith(".") and not each.is_dir())
    except OSError as error:
        raise InvalidRequest(f"{spelled} cannot be read: {error.strerror}") from None
    return {name: value for file in files for name, value in variables_of_file(file, f"{spelled}/{file.name}").items()}


def _value(text: str, where: str) -> str:
    if text[:1] not in ('"', "'"):
        return _COMMENT.sub("", text)
    double = text[0] == '"'
    match = (_DOUBLE if double else _SINGLE).match(text)
    if match is None:
        raise InvalidRequest(f"{where} begins with a quote that does not end the value", hint="Close the quote.")
    return _ESCAPE.sub(lambda each: _MEANT.get(each[1], each[1]), match["text"]) if double else match["text"]
