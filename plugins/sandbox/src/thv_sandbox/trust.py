"""The certificates that a server is to trust: a copy of the user's file, taken at the start."""

from __future__ import annotations

import os
from pathlib import Path

from thv_core.errors import InvalidRequest
from thv_core.model.plan import DeploymentPlan
from thv_core.model.quantity import memory_text
from thv_sandbox.descriptors import opened

__all__ = ["LARGEST", "certificates"]

LARGEST = 8 << 20
"""The most bytes that such a file may have; the bundle of all public authorities has a quarter of one mebibyte."""


def certificates(plan: DeploymentPlan) -> bytes:
    """Return the content of the file of certificates, or nothing when the plan names none.

    :raises InvalidRequest: when it cannot be read, is empty or is too large.
    """
    if not plan.certificates:
        return b""
    hint = "Name a file of PEM certificates: thv config set ca_certificate_path FILE"
    try:
        # Not blocking: a FIFO would be waited for.
        with opened(Path(plan.certificates), os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            content = _content(descriptor)
    except OSError as error:
        raise InvalidRequest(
            f"the certificates in {plan.certificates} cannot be read", evidence=[str(error)], hint=hint
        ) from error
    if not 0 < len(content) <= LARGEST:
        wrong = f"are more than {memory_text(LARGEST)}" if content else "are an empty file"
        raise InvalidRequest(f"the certificates in {plan.certificates} {wrong}", hint=hint)
    return content


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(LARGEST + 1)
