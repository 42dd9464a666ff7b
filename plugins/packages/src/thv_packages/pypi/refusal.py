"""Say in our words why uv refused: its messages become errors of thv, with the evidence and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thv_core.errors import PackageNotFound, PreparationFailed, ThvError, Unavailable
from thv_packages.pypi.known import meant
from thv_packages.pypi.requirement import SCHEME, Requirement
from thv_packages.wording import evidence, redacted

__all__ = ["NoWheel", "refusal"]

_LONGEST_MESSAGE = 65536
_MOST_LINES = 8
_LONGEST_LINE = 400
_OPTION = re.compile(r"(?<![\w-])--[a-z]")
_HOST = re.compile(r"https?://(?:\*\*\*@)?([^/\s]{1,200})")
_LABEL = re.compile(r"^\s*(?:error|cause|hint|warning):\s*")


class NoWheel(PreparationFailed):
    """A package has no wheel that fits; ``culprit`` is its name, and whether it has sources is not known yet."""

    def __init__(self, message: str, culprit: str, evidence: Sequence[str], hint: str) -> None:
        super().__init__(message, evidence=evidence, hint=hint)
        self.culprit = culprit


@dataclass(frozen=True)
class _Refused:
    """What was asked for, uv's message and lines without credentials, what is prepared, and who was asked."""

    requirement: Requirement
    message: str
    prepared: tuple[Requirement, ...]
    index: str

    @property
    def evidence(self) -> list[str]:
        """The lines of uv, but not its advice to use an option of its own, which a user of thv cannot follow."""
        lines = (_LABEL.sub("", line).strip()[:_LONGEST_LINE] for line in self.message.splitlines())
        return [line for line in lines if line and not _OPTION.search(line)][:_MOST_LINES]

    @property
    def here(self) -> str:
        """How to run a prepared version of the package, which needs no index, or an empty string."""
        return next(
            (
                f"Prepared here already:  thv run {each.reference}"
                for each in self.prepared
                if each.name == self.requirement.name
            ),
            "",
        )

    @property
    def newest(self) -> str:
        """The command that runs the newest version."""
        return f"thv run {SCHEME}://{self.requirement.label}"

    @property
    def another(self) -> str:
        """How to try a version that was not asked for."""
        return f"Try the newest:  {self.newest}" if self.requirement.version else f"Try another:  {self.newest}@VERSION"


def refusal(requirement: Requirement, message: str, prepared: Sequence[Requirement], index: str) -> ThvError:
    """Return the error that uv's ``message`` stands for.

    :param prepared: what this machine has, newest first: it needs no index, and its names may be what was meant.
    :param index: how the index that was asked is called.
    """
    refused = _Refused(requirement, redacted(message[:_LONGEST_MESSAGE]), tuple(prepared), index)
    for pattern, explain in _REASONS:
        found = re.search(pattern.replace("NAME", re.escape(requirement.name)), refused.message)
        if found:
            return explain(refused, found)
    return PreparationFailed(f"{requirement.line} cannot be installed", evidence=refused.evidence, hint=refused.another)


def _damaged(refused: _Refused, found: re.Match[str]) -> ThvError:
    del found
    return PreparationFailed(
        f"a file of {refused.requirement.line} is not the one that the index announced",
        evidence=refused.evidence,
        hint="Try again; if it happens again, somebody changed the file on its way or in the index.",
    )


def _untrusted(refused: _Refused, found: re.Match[str]) -> ThvError:
    host = _HOST.search(refused.message)
    return Unavailable(
        f"{refused.index}'s certificate is not trusted here",
        evidence=[f"{host[1]}: {found['why']}" if host else found["why"]],
        hint="Set SSL_CERT_FILE to your CA bundle, and run it again.",
    )


def _unavailable(refused: _Refused, found: re.Match[str]) -> ThvError:
    del found
    requirement = refused.requirement
    missing = "is not prepared" if requirement.version else "was asked for without a version"
    return Unavailable(
        f"{refused.index} does not answer, and {requirement.line} {missing}",
        evidence=refused.evidence,
        hint=refused.here or "Check the network, HTTPS_PROXY and UV_DEFAULT_INDEX, and run it again.",
    )


def _no_package(refused: _Refused, found: re.Match[str]) -> ThvError:
    del found
    name = refused.requirement.name
    likely = meant(name, (each.name for each in refused.prepared))
    return PackageNotFound(
        f"{refused.index} has no package {name}",
        hint=f"Did you mean {likely}?" if likely else "Check the spelling, or name the index with UV_DEFAULT_INDEX.",
    )


def _no_version(refused: _Refused, found: re.Match[str]) -> ThvError:
    del found
    requirement = refused.requirement
    return PackageNotFound(
        f"{refused.index} has no version {requirement.version} of {requirement.name}",
        hint=f"The newest:  {refused.newest}",
    )


def _source_only(refused: _Refused, found: re.Match[str]) -> ThvError:
    package = found["package"]
    version = found.groupdict().get("version")
    culprit = f"{package}{f' {version}' if version else ''} has only a source distribution"
    own = package == refused.requirement.name
    return NoWheel(
        culprit if own else f"{refused.requirement.line} needs {package}, and {culprit}",
        package,
        refused.evidence,
        hint="Try another version, or an index that has wheels.",
    )


def _no_fitting_wheel(refused: _Refused, found: re.Match[str]) -> ThvError:
    return NoWheel(
        f"{found['package']} {found['version']} has no wheel for this machine and its Python",
        found["package"],
        refused.evidence,
        hint="Set `python` of the plugin to the path of a Python that it supports, or try another version.",
    )


def _not_built(refused: _Refused, found: re.Match[str]) -> ThvError:
    return PreparationFailed(
        f"{found['package']} could not be built from source",
        evidence=evidence(refused.message),
        hint="Its build sees this system's compilers and the package index, and nothing else. Try another version.",
    )


def _other_python(refused: _Refused, found: re.Match[str]) -> ThvError:
    return PreparationFailed(
        f"{refused.requirement.line} needs Python {found['python']}",
        evidence=refused.evidence,
        hint="Set `python` of the plugin to the path of such a Python.",
    )


_Explain = Callable[[_Refused, "re.Match[str]"], ThvError]

_EXTRAS = r"(?:\[[^\]\s]{0,200}\])?"
_PINNED = rf"(?<![\w.-])(?P<package>[\w.-]{{1,200}}){_EXTRAS}==(?P<version>\S{{1,100}})"
_BOUND = r"[<>=~!]=?[\d.*]{1,20}"

_REASONS: tuple[tuple[str, _Explain], ...] = (
    (r"(?i)hash mismatch", _damaged),
    (r"(?P<why>invalid peer certificate[^\n]{0,300})", _untrusted),
    (r"Failed to fetch|Request failed|error sending request|network was disabled", _unavailable),
    (r"Failed to (?:download and )?build `?(?P<package>[\w.-]{1,200})", _not_built),
    (r"Failed to download", _unavailable),
    (rf"(?<![\w.-])NAME{_EXTRAS} was not found in the", _no_package),
    (rf"no version of NAME{_EXTRAS}==", _no_version),
    (rf"{_PINNED} has no usable wheels", _source_only),
    (r"all versions of (?P<package>[\w.-]{1,200}) have no usable wheels", _source_only),
    (rf"{_PINNED} has no wheels with a matching", _no_fitting_wheel),
    (rf"(?:requires|does not satisfy) Python ?(?P<python>{_BOUND}(?:, ?{_BOUND}){{0,9}})", _other_python),
)
"""What uv says, in order of precedence; ``NAME`` stands for the package that was asked for.

An index can choose parts of the text, so every repetition is bounded.
"""
