"""Resolve the secrets of a RunConfig to values, which live in memory only.

Precedence for a name: the chosen store, then what the caller's shell held (``TOOLHIVE_SECRET_NAME``); a name with
the prefix ``env:`` comes from the caller's shell alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from thv_core.errors import SecretNotFound
from thv_core.model.run_config import RunConfig
from thv_core.model.secret_reference import SHELL_PREFIX
from thv_core.services.serving import header_secrets, secret_key
from thv_core.spi.secrets import SecretStore

__all__ = ["ShellValueLost", "resolve_headers", "resolve_secrets"]


class ShellValueLost(SecretNotFound):
    """A value came from a shell and is gone, because the process that held it in memory is."""


def resolve_secrets(config: RunConfig, store: Callable[[], SecretStore], shell: Mapping[str, str]) -> dict[str, str]:
    """Return the value for each target variable of ``config``.

    :param store: gives the chosen store, called only when a secret is not from the shell.
    :param shell: values that the caller's shell held, by the name in the reference.
    :raises SecretNotFound: naming the secret and how to set it.
    """
    return {each.target: _value(each.name, store, shell) for each in config.secret_references}


def resolve_headers(config: RunConfig, store: Callable[[], SecretStore], shell: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each secret that is sent as a header field, by the name that the gateway has for it.

    :param store: as in :func:`resolve_secrets`, and ``shell`` too.
    :raises SecretNotFound: naming the secret and how to set it.
    """
    return {secret_key(config.name, name): _value(name, store, shell) for name in header_secrets(config)}


def _value(name: str, store: Callable[[], SecretStore], shell: Mapping[str, str]) -> str:
    if name.startswith(SHELL_PREFIX):
        return _from_shell(name, shell)
    try:
        return store().get(name)
    except SecretNotFound:
        if name in shell:
            return shell[name]
        raise


def _from_shell(reference: str, shell: Mapping[str, str]) -> str:
    if reference not in shell:
        name = reference.removeprefix(SHELL_PREFIX)
        raise ShellValueLost(
            f"secret {reference} came from a shell and is gone",
            hint=f"Keep it in a secret store, or run the server again from a shell that has {name}.",
        )
    return shell[reference]
