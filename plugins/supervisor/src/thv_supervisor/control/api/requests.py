"""The documents that callers send, with the field names of ToolHive, and ours where it has none."""

from __future__ import annotations

from typing import Annotated

import msgspec

from thv_core.model.document import Document
from thv_core.model.profile import PermissionProfile
from thv_core.model.serving import HeaderForward, ScalingConfig

__all__ = [
    "BulkRequest",
    "Chosen",
    "CreateRequest",
    "Following",
    "GroupRemoval",
    "GroupRequest",
    "ListenerRequest",
    "MoveRequest",
    "SecretParameter",
    "Stopping",
    "Waiting",
]

Lines = Annotated[int, msgspec.Meta(ge=0, description="a number of lines")]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600, description="a number of seconds")]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535, description="a port, or 0 to have one chosen")]

MOST_LINES = 1 << 30

Anything = dict[str, object]


class SecretParameter(Document, frozen=True, kw_only=True):
    """A secret by name, and the environment variable of the server that receives it."""

    name: str
    target: str


class CreateRequest(Document, frozen=True, kw_only=True):
    """ToolHive's ``createRequest``, and its ``updateRequest``, which has no name: how a workload is to run, all of it.

    Everything from ``registry`` on belongs to a feature that this version does not have: it is accepted while it says
    nothing, and refused by name when it says something. An absent ``permission_profile`` is that of the source. The
    keys from ``endpoint_prefix`` to ``socket`` are ours: those of a RunConfig, which an edit without them leaves alone.
    """

    name: str = ""
    image: str = ""
    url: str = ""
    host: str = ""
    transport: str = ""
    proxy_mode: str = ""
    proxy_port: Port = 0
    target_port: Port = 0
    cmd_arguments: tuple[str, ...] | None = None
    env_vars: dict[str, str] | None = None
    secrets: tuple[SecretParameter, ...] | None = None
    volumes: tuple[str, ...] | None = None
    permission_profile: PermissionProfile | None = None
    network_isolation: bool | None = None
    group: str = ""
    trust_proxy_headers: bool | None = None
    header_forward: HeaderForward | None = None
    endpoint_prefix: str | None = None
    allowed_origins: tuple[str, ...] | None = None
    stateless: bool | None = None
    strict_protocol_validation: bool | None = None
    session_ttl: str | None = None
    request_timeout: str | None = None
    stdio_sessions: str | None = None
    scaling_config: ScalingConfig | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    socket: str | None = None
    registry: str = ""
    server: str = ""
    allow_docker_gateway: bool | None = None
    authz_config: str | None = None
    oidc: Anything | None = None
    tools: tuple[str, ...] | None = None
    tools_override: Anything | None = None
    oauth_config: Anything | None = None
    headers: tuple[object, ...] | None = None
    runtime_config: Anything | None = None


class BulkRequest(Document, frozen=True, kw_only=True):
    """ToolHive's ``bulkOperationRequest``: either ``names`` or ``group``."""

    names: tuple[str, ...] | None = None
    group: str = ""


class GroupRequest(Document, frozen=True, kw_only=True):
    """The name of a group that is to be, or that a group is to have."""

    name: str


class MoveRequest(Document, frozen=True, kw_only=True):
    """The workloads that are to be in a group."""

    names: tuple[str, ...]


class ListenerRequest(Document, frozen=True, kw_only=True):
    """Where to listen: at ``host`` and ``port``, or at the Unix socket ``socket``.

    ``auth`` is ``token`` or ``none``; a Unix socket is protected by its mode and needs neither. ``openapi`` serves the
    description of the API there.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    socket: str = ""
    auth: str = "token"
    openapi: bool = False


class Chosen(Document, frozen=True, kw_only=True):
    """Which workloads are listed: those that should run, or ``all``; of one ``group``; with every ``label``."""

    all: bool = False
    group: str = ""
    label: tuple[str, ...] = ()


class Following(Document, frozen=True, kw_only=True):
    """How much of a log: the last ``tail`` lines, or all; ``follow`` goes on with what is written."""

    tail: Lines | None = None
    follow: bool = False

    @property
    def lines(self) -> int | None:
        """``tail``, but no more than any log has."""
        return None if self.tail is None else min(self.tail, MOST_LINES)


class Waiting(Document, frozen=True, kw_only=True):
    """Whether the answer waits until it is done."""

    wait: bool = False


class Stopping(Waiting, frozen=True, kw_only=True):
    """The seconds of grace with which a server is stopped, and whether the answer waits until it is."""

    timeout: Seconds = 5.0


class GroupRemoval(Document, frozen=True, kw_only=True, rename={"with_workloads": "with-workloads"}):
    """Whether the workloads of a group are removed with it; else they move to the default group."""

    with_workloads: bool = False
