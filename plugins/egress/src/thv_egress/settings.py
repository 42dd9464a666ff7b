"""The settings of the egress, checked before anything is served."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated

import msgspec

from thv_core.errors import InvalidRequest, SettingsError
from thv_core.model.document import Document, nearest
from thv_core.model.quantity import memory_bytes
from thv_core.model.wording import misfit

__all__ = ["Settings", "settings_from"]

LARGEST_POOL, SMALLEST_POOL = 8, 28
"""Lengths of the prefix of a pool: below the smallest there is no room for names."""

SMALLEST_LOG = 64 * 1024


class Settings(Document, frozen=True, kw_only=True):
    """What an administrator may choose.

    ``pool`` is the network of the addresses that stand for names, ``max_connections`` a number for each server,
    ``max_bytes`` how much each server may send and receive in all until the gateway starts anew (empty is no limit),
    ``idle_timeout`` seconds without a byte in either direction. The record is at most ``log_files`` files of
    ``log_size``.
    """

    pool: str = "11.254.0.0/16"
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 256
    max_bytes: str = ""
    idle_timeout: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 300.0
    log_size: str = "8MiB"
    log_files: Annotated[int, msgspec.Meta(ge=2, le=100)] = 4

    @property
    def allowance(self) -> int:
        """The bytes that a server may send and receive in all, 0 for no limit."""
        return memory_bytes(self.max_bytes) if self.max_bytes else 0

    @property
    def log_bytes(self) -> int:
        """The size at which a file of the record is full."""
        return memory_bytes(self.log_size)


def settings_from(given: Mapping[str, object]) -> Settings:
    """Check a section of ``config.yaml``.

    :raises SettingsError: naming the key that is unknown or has a wrong value.
    """
    known = Settings.__struct_fields__
    for key in given:
        if key not in known:
            meant = nearest(key, known)
            hint = f"Did you mean {meant}?" if meant else f"It knows: {', '.join(known)}."
            raise SettingsError(f"{key} is not a setting of the egress", hint=hint)
    try:
        settings = msgspec.convert(dict(given), Settings)
    except msgspec.ValidationError as error:
        wrong = misfit(str(error))
        raise SettingsError(f"the egress setting {wrong.sentence('section')}", hint=wrong.hint) from None
    _check_pool(settings.pool)
    _check_amounts(settings)
    return settings


def _check_pool(pool: str) -> None:
    hint = "Write a network that your servers never need to reach, such as 11.254.0.0/16."
    try:
        network = ipaddress.IPv4Network(pool)
    except ValueError as error:
        raise SettingsError(f"the egress setting pool is no IPv4 network: {error}", hint=hint) from None
    if not LARGEST_POOL <= network.prefixlen <= SMALLEST_POOL:
        raise SettingsError(
            f"the egress setting pool must be from /{LARGEST_POOL} to /{SMALLEST_POOL}, not /{network.prefixlen}",
            hint=hint,
        )
    if network.is_loopback or network.is_multicast or network.is_link_local or network.is_reserved:
        raise SettingsError(f"the egress setting pool cannot be {pool}: hosts treat such addresses apart", hint=hint)
    if network.overlaps(ipaddress.IPv4Network("0.0.0.0/8")):
        raise SettingsError(f"the egress setting pool cannot be {pool}: it holds no addresses of hosts", hint=hint)


def _check_amounts(settings: Settings) -> None:
    for key in ("log_size", "max_bytes"):
        text = getattr(settings, key)
        try:
            amount = memory_bytes(text) if text or key == "log_size" else 0
        except InvalidRequest as error:
            raise SettingsError(f"the egress setting {key} is no amount: {error.message}", hint=error.hint) from None
        if key == "log_size" and amount < SMALLEST_LOG:
            raise SettingsError(f"the egress setting log_size must be at least 64KiB, not {text}")
