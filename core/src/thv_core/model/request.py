"""What a user asks to run: the flags of ``thv run`` as one document."""

from __future__ import annotations

import msgspec

from thv_core.model.profile import PermissionProfile
from thv_core.model.run_config import RunConfig
from thv_core.model.serving import Serving

__all__ = ["RunRequest"]


class RunRequest(Serving, frozen=True, kw_only=True):
    """A request to run a server.

    Either ``run_config`` is a whole configuration, or ``server`` names what to run and the rest refines it:
    ``allow_network``, ``allow_read``, ``allow_write`` and ``allow_socket`` add to whichever profile it gets. What is
    inherited says how clients meet it, under the names that a RunConfig has for it.
    ``request_id`` is drawn by the caller: the same request sent twice starts one workload. ``shell_values`` maps the
    names of secrets to values that the caller's shell holds; control keeps them in memory only. ``network`` is what
    the caller's shell says of package indexes, proxies and certificates, or ``None`` when it does not matter.
    ``replaces`` names a workload that there is already and whose configuration this one is to replace: it is swapped
    without a failed call, and swapped back if the new one does not become ready.
    """

    request_id: str
    server: str = ""
    run_config: RunConfig | None = None
    name: str = ""
    group: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    host: str = ""
    transport: str = ""
    proxy_port: int = 0
    cmd_args: tuple[str, ...] = ()
    env_vars: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    target_port: int = 0
    allow_scripts: bool = False
    allow_network: tuple[str, ...] = ()
    allow_read: tuple[str, ...] = ()
    allow_write: tuple[str, ...] = ()
    allow_socket: bool = False
    permission_profile: PermissionProfile | None = None
    permission_profile_name_or_path: str = ""
    shell_values: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    network: dict[str, str] | None = None
    replaces: str = ""

    def __repr__(self) -> str:
        return f"RunRequest(server={self.server!r}, name={self.name!r}, request_id={self.request_id!r})"
