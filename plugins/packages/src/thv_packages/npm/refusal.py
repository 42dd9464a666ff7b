"""Say in our words why npm refused: its messages become errors of thv, with the evidence and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from thv_core.errors import PreparationFailed, ThvError, Unavailable
from thv_packages.npm.package_name import NpmPackage
from thv_packages.npm.registries import Registries
from thv_packages.npm.registry import no_package, no_version
from thv_packages.wording import evidence

__all__ = ["refusal"]

_LONGEST_MESSAGE = 65536
_NOISE = re.compile(
    r"^npm (?:error|ERR!)(?: code)? ?(?:404 ?$)?|^.*(?:Log files were not|complete log of this run|npm help ).*$"
    r"|^.*(?:Note that you can also install|tarball, folder, http url).*$",
    re.MULTILINE,
)
"""What npm writes before each of its lines, and lines that do not help."""


@dataclass(frozen=True)
class _Refused:
    """What was asked for, what npm wrote, which registries were asked, and what is prepared."""

    package: NpmPackage
    message: str
    registries: Registries
    prepared: tuple[str, ...]

    @property
    def evidence(self) -> list[str]:
        return evidence(_NOISE.sub("", self.message))


def refusal(package: NpmPackage, message: str, registries: Registries, prepared: tuple[str, ...] = ()) -> ThvError:
    """Return the error that npm's ``message``, which holds no secret, stands for.

    :param prepared: the names of what this machine has, for the hints.
    """
    refused = _Refused(package, message[-_LONGEST_MESSAGE:], registries, prepared)
    for pattern, explain in _REASONS:
        if re.search(pattern.replace("NAME", re.escape(package.name)), refused.message):
            return explain(refused)
    return _failed(refused, "", "Try another version.")


def _failed(refused: _Refused, why: str, hint: str) -> ThvError:
    return PreparationFailed(
        f"{refused.package.line} cannot be installed{f': {why}' if why else ''}", evidence=refused.evidence, hint=hint
    )


def _damaged(refused: _Refused) -> ThvError:
    return _failed(
        refused,
        "a file is not the one that the registry announced",
        "Try again; if it happens again, somebody changed the file on its way or in the registry.",
    )


def _untrusted(refused: _Refused) -> ThvError:
    return Unavailable(
        f"the certificate of {refused.registries.subject} is not trusted here",
        evidence=refused.evidence,
        hint="Set SSL_CERT_FILE to your CA bundle, and run it again.",
    )


def _refused_us(refused: _Refused) -> ThvError:
    return Unavailable(
        f"{refused.registries.subject} wants to know who asks for {refused.package.line}",
        evidence=refused.evidence,
        hint="Keep a token in your secret store, and name it:  thv config set plugins.npx.registry_token_secret NAME",
    )


def _unavailable(refused: _Refused) -> ThvError:
    return Unavailable(
        f"{refused.registries.subject} does not answer, and {refused.package.line} is not prepared",
        evidence=refused.evidence,
        hint="Check the network, HTTPS_PROXY and the setting `registry` of npx, and run it again.",
    )


def _no_package(refused: _Refused) -> ThvError:
    return no_package(refused.package, refused.registries, refused.prepared)


def _no_version(refused: _Refused) -> ThvError:
    return no_version(refused.package, refused.registries)


def _from_git(refused: _Refused) -> ThvError:
    return _failed(
        refused, "it needs a package that lies in git", "Only packages of the registry are installed. Try another."
    )


def _other_machine(refused: _Refused) -> ThvError:
    return _failed(refused, "it is not made for this machine", "Set `node` of the plugin npx, or try another version.")


_REASONS: tuple[tuple[str, Callable[[_Refused], ThvError]], ...] = (
    (r"EINTEGRITY", _damaged),
    (r"CERT_|SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET_ISSUER)|ERR_TLS_", _untrusted),
    (r"\bE40[13]\b|ENEEDAUTH", _refused_us),
    (r"ls-remote|spawn (?:/nonexistent/)?git|No git binary|git dep|unknown git error", _from_git),
    (r"ECONN\w+|ENOTFOUND|EAI_\w+|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|\bE50\d\b", _unavailable),
    (r"404 [^'\n]{0,80}'NAME@|No versions available for NAME\s", _no_package),
    (r"No matching version found for NAME@", _no_version),
    (r"EBADPLATFORM|EBADENGINE|Unsupported (?:platform|engine)", _other_machine),
)
"""What npm says, in order of precedence; ``NAME`` stands for the package that was asked for.

A registry can choose parts of the text, so every repetition is bounded.
"""
