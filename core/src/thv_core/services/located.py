"""Read YAML 1.2, or JSON, as plain data that knows the line of each key. Pure.

No tag constructs anything, a key may stand once in a mapping, and aliases cannot grow without bound. What YAML calls a
time is text here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from thv_core.errors import InvalidDocument

__all__ = ["KeyPath", "Located", "located"]

MOST_TEXT = 4 << 20
MOST_VALUES = 100_000
"""A document of more values than this is a mistake, or aliases of aliases."""

LEAST_WHOLE, MOST_WHOLE = -(1 << 63), (1 << 64) - 1
"""What a whole number may be; a fraction must be finite. JSON, in which all of it is kept, has no others."""

KeyPath = tuple[str | int, ...]

_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)")
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True)
class Located:
    """Plain data, and the line of each key path in it, counted from 1."""

    data: object
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Return the line of a key path, or of the nearest one above it."""
        return next((self.lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.lines), 1)

    def within(self, data: object, path: KeyPath) -> Located:
        """Return the part below a key path, whose data is ``data``, with paths relative to it."""
        depth = len(path)
        lines = {each[depth:]: line for each, line in self.lines.items() if each[:depth] == path}
        return Located(data, lines)

    def said(self, path: str) -> str:
        """Return ``(line 3)``, with a space before it, for a path as ``a.b[0].c``."""
        steps = tuple(int(match[1]) if match[1] else match[2] for match in _STEP.finditer(path))
        return f" (line {self.line(steps)})"


def located(text: str, origin: str) -> list[Located]:
    """Return each document of a text; an empty one has the data ``None``.

    :raises InvalidDocument: naming the line.
    """
    from ruamel.yaml import YAML  # heavy, and needed only when there is a manifest
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(text) > MOST_TEXT:
        raise InvalidDocument(f"{origin} has more than {MOST_TEXT >> 20} MiB", hint="Split it into several files.")
    try:
        yaml: Any = YAML(typ="safe", pure=True)
        return [_Reading(origin).document(node) for node in yaml.compose_all(_as_yaml(text))]
    except MarkedYAMLError as error:
        marked: Any = error
        mark = marked.problem_mark or marked.context_mark
        at = f" (line {mark.line + 1})" if mark is not None else ""
        reason = str(marked.problem or marked.context or "it does not parse").strip()
        raise InvalidDocument(f"{origin} is not YAML: {reason}{at}", hint="Correct it there.") from None
    except (YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or "it does not parse"
        raise InvalidDocument(f"{origin} is not YAML: {reason}", hint="Correct it there.") from None


def _as_yaml(text: str) -> str:
    """Return JSON in the part of it that is YAML: no tab indents, and no character is written as two escapes."""
    bare = text.removeprefix("\ufeff")
    if bare.lstrip()[:1] not in ("{", "["):
        return bare
    try:
        json.loads(bare)
    except ValueError:
        return bare
    return _SURROGATES.sub(_character, bare.replace("\t", " "))


def _character(match: re.Match[str]) -> str:
    pair = json.loads(f'"\\u{match[2]}\\u{match[3]}"')
    return f"{match[1]}{pair}"


@dataclass
class _Reading:
    """The reading of one document: the lines so far, and how many values there were."""

    origin: str
    lines: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    count: int = 0

    def document(self, node: Any) -> Located:
        data = None if node is None else self._value(node, ())
        return Located(data, self.lines)

    def _value(self, node: Any, path: KeyPath) -> object:
        self._count()
        # The line of a key is that of the key, and stands already.
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node.value, str):
            return self._scalar(node)
        if node.id == "sequence":
            return [self._value(each, (*path, place)) for place, each in enumerate(node.value)]
        return self._mapping(node, path)

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, object]:
        found: dict[str, object] = {}
        merged: list[Any] = []
        for key, value in node.value:
            if str(key.tag) == _MERGE:
                merged += value.value if value.id == "sequence" else [value]
                continue
            name = self._key(key, found)
            self.lines[(*path, name)] = key.start_mark.line + 1
            found[name] = self._value(value, (*path, name))
        for each in merged:
            if each.id != "mapping":
                raise InvalidDocument(f"{self.origin}: << takes a mapping (line {each.start_mark.line + 1})")
            # Merges of merges multiply also when nothing is in them.
            self._count()
            found = {**self._mapping(each, path), **found}
        return found

    def _count(self) -> None:
        self.count += 1
        if self.count > MOST_VALUES:
            raise InvalidDocument(
                f"{self.origin} has more than {MOST_VALUES} values", hint="Take out aliases that repeat aliases."
            )

    def _scalar(self, node: Any) -> object:
        kind = str(node.tag).removeprefix(_TAG)
        try:
            return _SCALARS.get(kind, str)(self._text(node))
        except ValueError:
            # Not what is written there: it may be a secret.
            raise InvalidDocument(
                f"{self.origin}: there is no number that can be meant (line {node.start_mark.line + 1})",
                hint="Write text in quotation marks.",
            ) from None

    def _key(self, key: Any, found: Mapping[str, object]) -> str:
        line = key.start_mark.line + 1
        if not isinstance(key.value, str):
            raise InvalidDocument(f"{self.origin}: a key must be text (line {line})")
        name = self._text(key)
        if name in found:
            raise InvalidDocument(f"{self.origin}: {name} is there twice (line {line})", hint="Leave one of them out.")
        return name

    def _text(self, node: Any) -> str:
        text = str(node.value)
        try:
            text.encode()
        except UnicodeEncodeError:
            # JSON can write half a character as an escape.
            line = node.start_mark.line + 1
            raise InvalidDocument(f"{self.origin}: there is half a character (line {line})") from None
        return text


def _whole(text: str) -> object:
    digits = text.replace("_", "")
    number = int(digits, 0) if re.match(r"[-+]?0[box]", digits) else int(digits)
    if not LEAST_WHOLE <= number <= MOST_WHOLE:
        raise ValueError("beyond 64 bits")
    return number


def _fraction(text: str) -> object:
    number = float(text.replace("_", ""))
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


_SCALARS: dict[str, Callable[[str], object]] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() in ("true", "yes", "on"),
    "int": _whole,
    "float": _fraction,
}
