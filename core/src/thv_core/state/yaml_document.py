"""A YAML mapping that is edited without losing a comment, an order, a quote, an indentation or a line end."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from thv_core.errors import SettingsError
from thv_core.state.yaml_lines import amended, indented, inserted, rebuilt, removed, replaced

__all__ = ["YamlDocument", "scalar"]

NO_WRAPPING = 1 << 16
"""A width that no line reaches, so that none is folded."""

_KEY_ALONE = r"^(?P<outer> *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*"
_NESTED = re.compile(_KEY_ALONE + r"(?P<inner>(?P=outer) +)[^\s#-]", re.MULTILINE)
_LISTED = re.compile(_KEY_ALONE + r"(?P<inner>(?P=outer) *)- ", re.MULTILINE)


class YamlDocument:
    """The text of a settings file.

    :raises SettingsError: when it is not YAML or not a mapping; the message names the file and the line.
    """

    def __init__(self, content: bytes, origin: str) -> None:
        try:
            text = content.decode("utf-8-sig")
            self._text = text.replace("\r\n", "\n")
            loaded = _yaml().load(self._text)
        except (YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise SettingsError(f"{origin} is not YAML: {_explained(error)}") from error
        self._line_end = "\r\n" if "\r\n" in text else "\n"
        self._root: Any = CommentedMap() if loaded is None else loaded
        if not _is_mapping(self._root):
            raise SettingsError(f"{origin} is not a mapping", hint="Write KEY: VALUE, one on each line.")

    def plain(self) -> dict[str, object]:
        """Return the content as plain data; a key without a value is left out."""
        return {key: value for key, value in _plain_mapping(self._root).items() if value is not None}

    def line(self, path: Sequence[str]) -> int:
        """Return the number of the line of a key path, or of the nearest key above it; 0 when there is none."""
        return len(self._chain(path)) and self._place(self._chain(path)[-1])[0] + 1

    def with_value(self, path: Sequence[str], value: object) -> bytes:
        """Return the text with a value at a key path, in mappings that are made where they are missing.

        The document itself is spent: its tree has the change, its text has not.
        """
        chain = self._chain(path)
        if len(chain) == len(path):
            spliced = [self._replaced(chain[-1], value), self._rebuilt(chain[-1], value)]
        else:
            spliced = [self._added(chain, path, value)]
        self._assign(path, value)
        return self._chosen(*spliced)

    def without(self, path: Sequence[str]) -> bytes | None:
        """Return the text without a key path and the mappings that it would leave empty, ``None`` if it is not there.

        The document itself is spent: its tree has the change, its text has not.
        """
        chain = self._chain(path)
        if len(chain) < len(path):
            return None
        while len(chain) > 1 and len(chain[-1][0]) == 1:
            chain.pop()
        node, key = chain[-1]
        spliced = removed(self._text, *self._place(chain[-1]))
        del node[key]
        return self._chosen(spliced)

    def _chain(self, path: Sequence[str]) -> list[tuple[Any, str]]:
        """Return each mapping on the way down a key path with the key that leads on, as far as the path exists."""
        chain: list[tuple[Any, str]] = []
        node = self._root
        for key in path:
            # A key that only a merge (<<) brings in has no place of its own.
            if not _is_mapping(node) or key not in (node.lc.data or {}):
                break
            chain.append((node, key))
            node = node[key]
        return chain

    def _place(self, step: tuple[Any, str]) -> tuple[int, int]:
        node, key = step
        line, column = node.lc.key(key)
        return int(line), int(column)

    def _replaced(self, step: tuple[Any, str], value: object) -> str:
        node, key = step
        if not (_is_filled_list(value) and _is_filled_list(node[key])):
            line, column = node.lc.value(key)
            return replaced(self._text, int(line), int(column), self._inline(value))
        old: Any = node[key]
        wanted = cast("list[object]", value)
        items = {int(old.lc.item(place)[0]): item in wanted for place, item in enumerate(old)}
        return amended(self._text, items, [self._inline(item) for item in wanted if item not in old])

    def _rebuilt(self, step: tuple[Any, str], value: object) -> str:
        line, column = self._place(step)
        return rebuilt(self._text, line, column, indented(self._dumped({step[1]: value}), column))

    def _inline(self, value: object) -> str:
        return self._dumped({"": value}).partition(":")[2].strip()

    def _added(self, chain: list[tuple[Any, str]], path: Sequence[str], value: object) -> str:
        addition = value
        for key in reversed(path[len(chain) :]):
            addition = {key: addition}
        text = self._dumped(addition)
        if not chain:
            return self._text.rstrip("\n") + "\n" * bool(self._text.strip()) + text
        node, key = chain[-1]
        children = node[key]
        column = int(children.lc.key(next(iter(children)))[1]) if _is_mapping(children) and children else 0
        return inserted(self._text, *self._place(chain[-1]), indented(text, column))

    def _assign(self, path: Sequence[str], value: object) -> None:
        *above, last = path
        node = self._root
        for key in above:
            if not _is_mapping(node.get(key)):
                node[key] = CommentedMap()
            node = node[key]
        if _is_filled_list(value) and _is_filled_list(node.get(last)):
            _amend(node[last], cast("list[object]", value))
        else:
            node[last] = value

    def _chosen(self, *spliced: str) -> bytes:
        """Return the first text that means what the tree means, or else the tree written anew."""
        wanted = _plain_mapping(self._root)
        text = next((each for each in spliced if _meaning(each) == wanted), "") or self._dumped(self._root)
        return text.replace("\n", self._line_end).encode()

    def _dumped(self, data: object) -> str:
        stream = io.StringIO()
        writer = _yaml()
        writer.width = NO_WRAPPING
        writer.explicit_start = data is self._root and self._text.lstrip().startswith("---")
        mapping, offset = _indentation(self._text)
        writer.indent(mapping=mapping, sequence=offset + 2, offset=offset)
        writer.dump(data, stream)
        return stream.getvalue()


def scalar(text: str) -> object:
    """Return what ``text`` means as a YAML value: ``8`` is a number, ``"8"`` and ``eight`` are text.

    :raises ValueError: when it is not YAML.
    """
    try:
        return _plain(_yaml().load(text))
    except (YAMLError, RecursionError) as error:
        raise ValueError("a YAML value") from error


def _yaml() -> Any:  # ruamel.yaml is only partly typed
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    return yaml


def _is_mapping(node: object) -> bool:
    return isinstance(node, CommentedMap)


def _is_filled_list(node: object) -> bool:
    return isinstance(node, list) and bool(cast("list[object]", node))


def _amend(node: Any, wanted: list[object]) -> None:
    """Make a list what is wanted, keeping the items that stay, which carry comments and quotes."""
    for place in reversed(range(len(node))):
        if node[place] not in wanted:
            del node[place]
    if list(node) != wanted[: len(node)]:
        del node[:]
    node.extend(wanted[len(node) :])


def _meaning(text: str) -> dict[str, object] | None:
    try:
        loaded = _yaml().load(text)
    except (YAMLError, ValueError):
        return None
    return _plain_mapping(loaded or {})


def _indentation(text: str) -> tuple[int, int]:
    """Return by how much the first nested mapping and the dashes of the first list are indented, 2 and 0 by default."""
    mapping = _NESTED.search(text)
    dashes = _LISTED.search(text)
    return (
        len(mapping["inner"]) - len(mapping["outer"]) if mapping else 2,
        len(dashes["inner"]) - len(dashes["outer"]) if dashes else 0,
    )


def _plain(node: object) -> object:
    if isinstance(node, Mapping):
        return _plain_mapping(cast("Mapping[object, object]", node))
    if isinstance(node, list):
        return [_plain(each) for each in cast("list[object]", node)]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node if node is None else str(node)


def _plain_mapping(node: Mapping[object, object]) -> dict[str, object]:
    return {str(key): _plain(value) for key, value in node.items()}


def _explained(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError):
        marked: Any = error
        mark = marked.problem_mark or marked.context_mark
        at = f" (line {mark.line + 1})" if mark is not None else ""
        return f"{str(marked.problem or marked.context or 'it does not parse').strip()}{at}"
    return " ".join(str(error).split()) or type(error).__name__
