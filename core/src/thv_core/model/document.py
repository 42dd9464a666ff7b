"""Strict documents: frozen structs that refuse unknown keys and say where and what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from typing import TypeVar, get_args

import msgspec

from thv_core.errors import InvalidDocument
from thv_core.model.wording import misfit

__all__ = ["Document", "convert_document", "decode_document", "encode_document", "nearest"]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The root of every value of the model: frozen, keyword-only, strict."""


D = TypeVar("D", bound=Document)

_UNKNOWN = re.compile(r"contains unknown field `(?P<key>.*?)`(?: - at `\$\.?(?P<path>.*)`)?$")
_BYTE = re.compile(r" *\(byte (\d+)\)")
_TRUNCATED = "Input data was truncated"


def nearest(word: str, known: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """Return the known word that ``word`` was probably meant to be, or an empty string."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def decode_document(text: bytes | str, kind: type[D], origin: str) -> D:
    """Decode JSON ``text`` into ``kind``.

    :param origin: what the text is, for messages: a file name or ``request``.
    :raises InvalidDocument: naming the key path, its line and the nearest known key.
    """
    source = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    try:
        return msgspec.json.decode(source, type=kind)
    except msgspec.ValidationError as error:
        raise _explained(str(error), kind, origin, lambda path: _line(path, source)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unparsable(str(error), source, origin) from None


def convert_document(value: object, kind: type[D], origin: str, where: Callable[[str], str]) -> D:
    """Convert plain data into ``kind``.

    :param origin: what the data is, for messages.
    :param where: returns what a message says of the place of a key path such as ``a.b[0].c``: `` (line 3)``.
    :raises InvalidDocument: naming the key path, its place and the nearest known key.
    """
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise _explained(str(error), kind, origin, where) from None


def encode_document(document: Document) -> bytes:
    """Encode a document as compact JSON; decoding it again yields an equal value."""
    return msgspec.json.encode(document)


def _unparsable(message: str, source: str, origin: str) -> InvalidDocument:
    if not source.strip():
        return InvalidDocument(f"{origin} is not JSON: it is empty", hint="Write at least an object:  {}")
    if message == _TRUNCATED:
        return InvalidDocument(
            f"{origin} is not JSON: it ends in the middle", hint="Copy or write it as a whole again."
        )
    reason = message.removeprefix("JSON is malformed: ")
    if byte := _BYTE.search(message):
        line = source.encode()[: int(byte[1])].count(b"\n") + 1
        reason = f"{_BYTE.sub('', reason)} (line {line})"
    return InvalidDocument(f"{origin} is not JSON: {reason}", hint="Correct it there; JSON has no comments.")


def _explained(message: str, kind: type[Document], origin: str, where: Callable[[str], str]) -> InvalidDocument:
    unknown = _UNKNOWN.search(message)
    if unknown is None:
        wrong = misfit(message)
        sentence = wrong.sentence("the document")
        return InvalidDocument(f"{origin}: {sentence}{where(wrong.path.replace('[...]', ''))}", hint=wrong.hint)
    path = f"{unknown['path']}.{unknown['key']}" if unknown["path"] else unknown["key"]
    known = sorted({field.encode_name for each in _kinds_within(kind) for field in msgspec.structs.fields(each)})
    meant = nearest(unknown["key"], known)
    hint = f"Did you mean {meant}?" if meant else f"Known keys: {', '.join(known)}."
    return InvalidDocument(f"{origin}: {path} is not a known key{where(path)}", hint=hint)


def _line(path: str, source: str) -> str:
    key = path.rsplit(".", 1)[-1].partition("[")[0]
    found = source.find(f'"{key}"') if key else -1
    return f" (line {source.count(chr(10), 0, found) + 1})" if found >= 0 else ""


def _kinds_within(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found, open_ones = {kind}, [kind]
    while open_ones:
        for field in msgspec.structs.fields(open_ones.pop()):
            new = set(_structs(field.type)) - found
            found |= new
            open_ones += new
    return found


def _structs(annotation: object) -> Iterator[type[msgspec.Struct]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for argument in get_args(annotation):
        yield from _structs(argument)
