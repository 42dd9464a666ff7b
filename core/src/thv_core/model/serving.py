"""How clients meet a workload: the documents within a RunConfig that say so, and the keys of it that do."""

from __future__ import annotations

from typing import Any

from thv_core.model.document import Document

__all__ = ["SERVING", "HeaderForward", "ScalingConfig", "Serving", "SessionRedis", "unusual"]


class SessionRedis(Document, frozen=True, kw_only=True):
    """Where sessions are kept so that several gateways share them: ``address`` is HOST:PORT, or ``rediss://HOST:PORT``.

    The password is taken from ``THV_SESSION_REDIS_PASSWORD`` in the environment of the gateway.
    """

    address: str
    db: int = 0
    key_prefix: str = "thv:proxy:session:"


class ScalingConfig(Document, frozen=True, kw_only=True, omit_defaults=True):
    """ToolHive's ``scaling_config``: a server runs once here, and its sessions may be shared by gateways."""

    backend_replicas: int | None = None
    session_redis: SessionRedis | None = None


class HeaderForward(Document, frozen=True, kw_only=True, omit_defaults=True):
    """ToolHive's ``header_forward``: header fields by name, each with its value, or with the name of a secret."""

    add_plaintext_headers: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    add_headers_from_secret: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it

    def __repr__(self) -> str:
        """Name the fields and no value: what is written in the clear may still be a credential."""
        return f"HeaderForward({', '.join(sorted({*self.add_plaintext_headers, *self.add_headers_from_secret}))})"

    def __bool__(self) -> bool:
        """Whether there is any field."""
        return bool(self.add_plaintext_headers or self.add_headers_from_secret)


class Serving(Document, frozen=True, kw_only=True):
    """The keys of a :class:`thv_core.model.run_config.RunConfig` that say how clients meet it, with its defaults."""

    proxy_mode: str = "streamable-http"
    endpoint_prefix: str = ""
    allowed_origins: tuple[str, ...] = ()
    trust_proxy_headers: bool = False
    stateless: bool = False
    strict_protocol_validation: bool = False
    session_ttl: str = ""
    request_timeout: str = ""
    stdio_sessions: str = "shared"
    header_forward: HeaderForward = HeaderForward()
    scaling_config: ScalingConfig = ScalingConfig()
    tls_certificate: str = ""
    tls_key: str = ""
    socket: str = ""


SERVING = Serving.__struct_fields__
"""The names of those keys."""

_USUAL = Serving()


def unusual(serving: Serving) -> dict[str, Any]:
    """Return the keys that say something else than the usual, so that a document without them stays what it is."""
    found = {key: getattr(serving, key) for key in SERVING}
    return {key: value for key, value in found.items() if value != getattr(_USUAL, key)}
