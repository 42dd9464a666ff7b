"""What a job may reach: the hosts of its indexes, and nothing else."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from urllib.parse import SplitResult, urlsplit

from thv_core.errors import SettingsError

__all__ = ["authority", "index_url", "reach", "without_credentials"]

_PORTS = {"https": 443, "http": 80}


def index_url(url: object, key: str) -> str:
    """Return the URL of an index, without its last slash.

    :raises SettingsError: when it is none, or holds credentials, which belong into a secret.
    """
    parts = _split(url) if isinstance(url, str) else None
    if parts is None:
        raise SettingsError(f"{key} is not the URL of an index", hint="Write https://packages.example.com/simple.")
    if parts.username or parts.password:
        raise SettingsError(
            f"{key} holds a password", hint="Keep it in your secret store, and name the secret in its own setting."
        )
    return str(url).rstrip("/")


def authority(url: str) -> str:
    """Return ``HOST:PORT`` of a URL, an IPv6 address in brackets, or an empty string when it is none of an index."""
    parts = _split(url)
    if parts is None:
        return ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or _PORTS[parts.scheme]}"


def without_credentials(url: str) -> str:
    """Return a URL without user and password."""
    parts = _split(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts else url


def reach(urls: Iterable[str], hosts: Iterable[str] = (), told: Iterable[str] = ()) -> tuple[str, ...]:
    """Return what a job may reach, as entries of ``allow_host``: the hosts of URLs, and others with or without a port.

    A name never permits a private address, so those of an index in a private network are entries of their own.

    :param told: what an index says, as ``HOST:PORT``: names alone, because nobody trusts it with the user's network.
    """
    named = {*filter(None, map(authority, urls)), *(host if _has_port(host) else f"{host}:443" for host in hosts)}
    private = {each for name in named for each in _private(name)}
    public = {each for each in told if not _is_address(each)}
    return (*sorted(named | public), *sorted(private - named))


def _split(url: str) -> SplitResult | None:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in _PORTS and parts.hostname and (parts.port is None or parts.port > 0):
            return parts
    return None


def _is_address(name: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name.rpartition(":")[0].strip("[]").partition("%")[0]))
    return False


def _has_port(host: str) -> bool:
    return host.rpartition("]")[2].count(":") == 1


def _private(name: str) -> Iterator[str]:
    host, _, port = name.rpartition(":")
    # A name that cannot be looked up at all is a ValueError.
    with contextlib.suppress(OSError, ValueError):
        for *_, address in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM):
            found = ipaddress.ip_address(str(address[0]).partition("%")[0])
            # Nobody keeps an index where clouds keep their metadata.
            if not found.is_global and not found.is_link_local:
                yield f"[{found}]:{port}" if found.version == 6 else f"{found}:{port}"
