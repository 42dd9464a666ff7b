"""What msgspec says about a value that does not fit, in words for people."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Misfit", "misfit"]

_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<key>[^`]*)`")
_EXPECTED = re.compile(r"Expected `(?P<wanted>[^`]*)`(?:, got `(?P<given>[^`]*)`| (?P<bound>[<>]=? [-\d.e+]+))?$")

_ANY_KEY = "[...]"
"""What stands in a path for a key of a mapping, which msgspec does not name."""

_WORDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "nothing",
    "object": "a mapping of keys to values",
    "str": "text",
}
_GIVEN = {**_WORDS, "bool": "a truth value", "float": "a fraction"}
_BOUNDS = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}
_EXAMPLES = {
    "array": 'Write it in brackets:  ["one", "two"]',
    "bool": "Write true or false, without quotation marks.",
    "float": "Write it without quotation marks:  2.5",
    "int": "Write it without quotation marks:  8080",
    "object": 'Write it in braces:  {"key": "value"}',
    "str": 'Write it in quotation marks:  "text"',
}


class Misfit(NamedTuple):
    """One value that does not fit: its key path, what is wrong with it, and how it is written."""

    path: str
    text: str
    hint: str = ""

    def sentence(self, whole: str) -> str:
        """Say it in one sentence; ``whole`` names the document, should it not fit as a whole."""
        mapping = self.path.removesuffix(_ANY_KEY)
        name = f"every value of {mapping}" if mapping != self.path else self.path
        return f"{name or whole} {self.text}"


def misfit(message: str) -> Misfit:
    """Translate the message of a ``msgspec.ValidationError``; what is not known of it stays as it is."""
    at = _AT.search(message)
    path = at["path"] if at else ""
    detail = _AT.sub("", message)
    if missing := _MISSING.search(detail):
        key = missing["key"]
        return Misfit(f"{path}.{key}" if path else key, "is missing", f'Add it:  "{key}": …')
    expected = _EXPECTED.match(detail)
    if expected is None:
        return Misfit(path, f"cannot be meant: {detail[:1].lower()}{detail[1:]}")
    if expected["bound"]:
        sign, _, limit = expected["bound"].partition(" ")
        return Misfit(
            path, f"must be {_BOUNDS[sign]} {float(limit):.12g}", f"{path} is {_spoken(expected['wanted'], _WORDS)}."
        )
    refused = f", not {_spoken(expected['given'], _GIVEN)}" if expected["given"] else ""
    return Misfit(
        path, f"must be {_spoken(expected['wanted'], _WORDS)}{refused}", _EXAMPLES.get(expected["wanted"], "")
    )


def _spoken(types: str, words: dict[str, str]) -> str:
    return " or ".join(words.get(each, each) for each in types.split(" | "))
