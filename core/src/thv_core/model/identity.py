"""Who makes a request."""

from __future__ import annotations

from thv_core.model.document import Document

__all__ = ["LOCAL_USER", "Identity"]


class Identity(Document, frozen=True, kw_only=True):
    """A verified caller: ``subject`` is unique within ``issuer``; claims and tokens are not kept here."""

    subject: str
    issuer: str = "local"


LOCAL_USER = Identity(subject="local")
"""The caller of a loopback listener without authentication: the user of this machine."""
