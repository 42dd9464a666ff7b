"""Find the values of the secrets that requests to a server carry as header fields, for the gateway's memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from thv_core.errors import SecretNotFound, ThvError
from thv_core.model.run_config import RunConfig
from thv_core.model.workload import Workload
from thv_core.services.resolving_secrets import resolve_headers
from thv_core.services.serving import header_secrets
from thv_core.services.swapping import succeeding
from thv_supervisor.control.ground import Ground

__all__ = ["HeaderSecretGone", "current_values", "header_values"]

SECRETS_LIMIT = 30.0

log = logging.getLogger(__name__)


class HeaderSecretGone(SecretNotFound):
    """A secret that requests carry was there when the workload started, and is not there any more."""


async def header_values(config: RunConfig, shell: Mapping[str, str], ground: Ground) -> dict[str, str]:
    """Return the value of each secret that is sent as a header field, by the name that the gateway has for it.

    :raises SecretNotFound: when one is missing.
    """
    if not header_secrets(config):
        return {}
    kernel = ground.kernel
    store = f"secrets {kernel.configuration.secrets.provider}"
    return await ground.calls.run(store, SECRETS_LIMIT, lambda: resolve_headers(config, kernel.secret_store, shell))


async def current_values(workload: Workload, ground: Ground) -> dict[str, str] | None:
    """Return those of a workload, and of the change under way; ``None`` when the store cannot be read now.

    :raises HeaderSecretGone: when one is missing.
    """
    shell = ground.shell_values
    try:
        values = await header_values(workload.config, shell.of(workload.name), ground)
        if workload.successor is not None:
            following = succeeding(workload).config
            values |= await header_values(following, shell.of_change(workload.name), ground)
    except SecretNotFound as error:
        raise HeaderSecretGone(error.message, evidence=error.evidence, hint=error.hint) from error
    except ThvError as error:
        log.warning("the headers of %s stay as they are: %s", workload.name, error.message)
        return None
    return values
