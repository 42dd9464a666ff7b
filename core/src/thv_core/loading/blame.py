"""Say which distribution is to blame for a plugin that failed."""

from __future__ import annotations

from thv_core.errors import PluginBroken, ThvError
from thv_core.loading.catalog import Plugin

__all__ = ["broken", "described"]


def broken(plugin: Plugin, what: str, cause: BaseException | None = None) -> PluginBroken:
    """Return the error for a plugin that failed: ``what`` completes the sentence that begins with its name."""
    evidence = [described(cause)] if cause is not None else []
    hint = cause.hint if isinstance(cause, ThvError) else ""
    return PluginBroken(
        f"the {plugin.kind} {plugin.name!r} of {plugin.origin} {what}",
        evidence=evidence,
        hint=hint or f"Upgrade or uninstall {plugin.distribution}, or tell its author.",
    )


def described(error: BaseException) -> str:
    """Return one line that says what a foreign exception was, even when its own text fails."""
    if isinstance(error, ThvError):
        return error.message
    try:
        text = " ".join(str(error).split())
    except Exception:  # a stranger's exception may be broken as well
        text = ""
    return f"{type(error).__name__}: {text}".removesuffix(": ")
