"""Resolve the secrets of a RunConfig to values, which live in memory only.

Precedence for a name: the chosen store, then what the caller's shell held (``TOOLHIVE_SECRET_NAME``); a name with
the prefix ``env:`` comes from the caller's shell alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from thv_core.errors import SecretNotFound
from thv_core.model.run_config import RunConfig
from thv_core.model.secret_reference import SHELL_PREFIX, SecretReference
from thv_core.spi.secrets import SecretStore

__all__ = ["ShellValueLost", "resolve_secrets"]


class ShellValueLost(SecretNotFound):
    """A value came from a shell and is gone, because the process that held it in memory is."""


def resolve_secrets(config: RunConfig, store: Callable[[], SecretStore], shell: Mapping[str, str]) -> dict[str, str]:
    """Return the value for each target variable of ``config``.

    :param store: gives the chosen store, called only when a secret is not from the shell.
    :param shell: values that the caller's shell held, by the name in the reference.
    :raises SecretNotFound: naming the secret and how to set it.
    """
    return {each.target: _value(each, store, shell) for each in config.secret_references}


def _value(reference: SecretReference, store: Callable[[], SecretStore], shell: Mapping[str, str]) -> str:
    if reference.from_shell:
        return _from_shell(reference, shell)
    try:
        return store().get(reference.name)
    except SecretNotFound:
        if reference.name in shell:
            return shell[reference.name]
        raise


def _from_shell(reference: SecretReference, shell: Mapping[str, str]) -> str:
    if reference.name not in shell:
        name = reference.name.removeprefix(SHELL_PREFIX)
        raise ShellValueLost(
            f"secret {reference.name} came from a shell and is gone",
            hint=f"Keep it in a secret store, or run the server again from a shell that has {name}.",
        )
    return shell[reference.name]
