"""Say in lines for people how one configuration differs from another. Pure.

The values of environment variables and of headers, and the parameters of middleware, are never shown.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import msgspec

from thv_core.model.run_config import MiddlewareConfig, RunConfig

__all__ = ["differences"]

_PROFILE = "permission_profile."
_NAME = f"{_PROFILE}name"
_IN_ORDER = ("cmd_args",)
_HIDDEN = ("env_vars", "header_forward.add_plaintext_headers")


def differences(before: RunConfig, after: RunConfig) -> tuple[str, ...]:
    """Return what differs: ``image: uvx://x@1 -> uvx://x@2``, ``volumes: + /a:/b``, ``env_vars.TOKEN: changed``.

    The keys of the permission profile are named without that of the profile, ``network.outbound.allow_host``.
    """
    return tuple(_of_fields(before, after, ""))


def _of_fields(before: msgspec.Struct, after: msgspec.Struct, prefix: str) -> Iterator[str]:
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield from _of_values(old, new, f"{prefix}{name}")


def _of_values(before: object, after: object, path: str) -> Iterator[str]:
    pair = (before, after)
    if isinstance(before, msgspec.Struct):
        yield from _of_fields(before, cast("msgspec.Struct", after), f"{path}.")
    elif isinstance(before, dict):
        mappings = cast("tuple[dict[str, object], dict[str, object]]", pair)
        yield from _of_mappings(*mappings, _named(path))
    elif isinstance(before, tuple) and path not in _IN_ORDER:
        lists = cast("tuple[tuple[object, ...], tuple[object, ...]]", pair)
        yield from _of_lists(*lists, _named(path))
    else:
        yield _step(_named(path), *map(_shown, pair))


def _of_mappings(old: Mapping[str, object], new: Mapping[str, object], path: str) -> Iterator[str]:
    shown: Callable[[object], str] = _hidden if path in _HIDDEN else _shown
    for key in sorted(old.keys() | new.keys()):
        if key not in new:
            yield f"{path}.{key}: removed"
        elif key not in old:
            yield f"{path}.{key}: {shown(new[key]) or 'set'}"
        elif old[key] != new[key]:
            text = shown(new[key])
            yield _step(f"{path}.{key}", shown(old[key]), text) if text else f"{path}.{key}: changed"


def _of_lists(old: tuple[object, ...], new: tuple[object, ...], path: str) -> Iterator[str]:
    gone = [f"{path}: - {_item(each)}" for each in old if each not in new]
    come = [f"{path}: + {_item(each)}" for each in new if each not in old]
    yield from [*gone, *come] or [f"{path}: in another order"]


def _named(path: str) -> str:
    return path if path == _NAME else path.removeprefix(_PROFILE)


def _step(path: str, old: str, new: str) -> str:
    return f"{path}: {old} -> {new or 'nothing'}" if old else f"{path}: {new}"


def _item(value: object) -> str:
    return value.type if isinstance(value, MiddlewareConfig) else _shown(value)


def _hidden(value: object) -> str:
    del value
    return ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return shlex.join(str(each) for each in cast("tuple[object, ...]", value))
    if isinstance(value, float):
        return f"{value:g}" if value else ""
    return str(value or "")
