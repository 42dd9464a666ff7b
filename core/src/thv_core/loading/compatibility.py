"""Whether a distribution was made for this core: its ``Requires-Dist`` on thv-core is the negotiation."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence

from thv_core.loading.metadata import CORE, normalised

__all__ = ["Verdict", "judged"]

_NAMED = re.compile(r"\s*(?P<name>[A-Za-z0-9._-]+)\s*(?P<rest>.*)\Z", re.DOTALL)
_PLAIN_VERSION = re.compile(r"\d+(\.\d+)*\Z")
_PLAIN_CLAUSE = re.compile(r"\s*(?P<sign>>=|<=|==|!=|<|>)\s*(?P<version>\d+(\.\d+)*)\s*\Z")
_BOUNDING = ("<", "==", "~=")
_SIGNS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}

Verdict = tuple[bool, str]
"""Whether the requirement accepts the core, and a reason or note for people, empty when there is nothing to say."""


def judged(requires: Sequence[str], core_version: str) -> Verdict:
    """Judge the requirements of a distribution against the version of the core."""
    applying: list[str] = []
    for requirement, clauses in _on_core(requires):
        verdict = _plain(clauses, core_version)
        verdict = _general(requirement, core_version) if verdict is None else verdict
        if verdict is False:
            return False, f"it requires {requirement.strip()}, and this is {CORE} {core_version}"
        applying += [clauses.partition(";")[0]] if verdict else []
    return True, _note(applying)


def _on_core(requires: Sequence[str]) -> Iterator[tuple[str, str]]:
    for requirement in requires:
        named = _NAMED.match(requirement)
        if named is not None and normalised(named["name"]) == CORE:
            yield requirement, named["rest"]


def _note(applying: Sequence[str]) -> str:
    if not applying:
        return f"it states no requirement on {CORE}"
    bounded = any(sign in clauses for clauses in applying for sign in _BOUNDING)
    return "" if bounded else f"its requirement on {CORE} has no upper bound"


def _plain(rest: str, core_version: str) -> bool | None:
    """Judge clauses such as ``<0.2,>=0.1`` on a final release by comparing numbers; ``None`` when it is not that."""
    clauses = [_PLAIN_CLAUSE.match(clause) for clause in rest.strip().strip("()").split(",")]
    if not _PLAIN_VERSION.match(core_version):
        return None
    accepted = True
    for clause in clauses:
        if clause is None:
            return None
        accepted = accepted and _holds(core_version, clause["sign"], clause["version"])
    return accepted


def _holds(left: str, sign: str, right: str) -> bool:
    width = max(left.count("."), right.count(".")) + 1
    return _SIGNS[sign](_numbers(left, width), _numbers(right, width))


def _numbers(version: str, width: int) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (width - len(numbers)))


def _general(requirement: str, core_version: str) -> bool | None:
    """Judge any requirement; ``None`` when it does not apply here, because of its marker or as part of an extra."""
    from packaging.requirements import InvalidRequirement, Requirement  # costs 60 ms, and few need it

    try:
        parsed = Requirement(requirement)
    except InvalidRequirement:
        return False
    if parsed.marker is not None and not parsed.marker.evaluate({"extra": ""}):
        return None
    return parsed.specifier.contains(core_version, prereleases=True)
