"""The program uv: where it is, and how it is told to behave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from thv_core.errors import PreparationFailed
from thv_packages.process import Program, passed_environment
from thv_packages.trust import trust

__all__ = ["default_index", "uv_environment", "uv_program"]

_HELP_SECONDS = 30.0
_SETTINGS = {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "hardlink", "NO_COLOR": "1"}
_PATIENCE = {"UV_HTTP_RETRIES": "2"}
"""What the user's environment may override: retries take 10 s when there are three, and nobody answers."""


def uv_program() -> str:
    """Return the path of uv.

    :raises PreparationFailed: when it is not installed.
    """
    # uv is asked only when a package is not prepared yet; control starts without it.
    from uv import find_uv_bin

    try:
        return str(find_uv_bin())
    except FileNotFoundError as error:
        raise PreparationFailed("uv is not installed", hint="Install the distribution `uv` beside thv.") from error


def uv_environment(cache: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for uv outside of a workshop: those of the user that matter, and a cache of our own."""
    return {
        **_PATIENCE,
        **trust(environment),
        **passed_environment(environment),
        **_SETTINGS,
        "UV_CACHE_DIR": str(cache / "uv"),
    }


def default_index() -> str:
    """Return the URL of the index that uv asks when nobody names one; uv says so in its help.

    :raises PreparationFailed: when it does not.
    """
    finished = Program((uv_program(), "pip", "compile", "--help"), directory="/", seconds=_HELP_SECONDS).run()
    named = re.search(r"\bdefault-index\b.{0,200}?default:\s+<(https://[^>\s]{1,200})>", finished.output, re.DOTALL)
    if named is None:
        raise PreparationFailed(
            "uv does not say which package index it asks",
            evidence=finished.output.splitlines()[:1],
            hint="Name it:  thv config set plugins.uvx.index URL",
        )
    return named[1]
