"""The certificate of a listener, read again when its files change."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

from thv_core.errors import SettingsError

__all__ = ["Certificate"]

_logger = logging.getLogger("thv.gateway")

Mark = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate and its key, as PEM files; handshakes after :meth:`renew` use what is in them then."""

    def __init__(self, certificate: str, key: str) -> None:
        self._paths = (certificate, key or certificate)
        self._context: ssl.SSLContext | None = None
        self._mark: Mark = ()

    def context(self) -> ssl.SSLContext:
        """Return a context with the certificate: TLS 1.2 at least, and HTTP/1.1.

        :raises SettingsError: when it cannot be read, or is none.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        self._context = context
        return context

    def renew(self) -> None:
        """Read the files again if they have changed; what cannot be read is said, and the former certificate stays."""
        try:
            if self._context is None or self._marks() == self._mark:
                return
            # Loaded aside first: a half-written pair must not leave a context without a key.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._context.load_cert_chain(*self._paths, password=_none)
        except (SettingsError, OSError) as error:
            _logger.warning("the certificate stays as it was: %s", error)

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            self._mark = self._marks()
            context.load_cert_chain(*self._paths, password=_none)
        except ssl.SSLError as error:
            reason = (error.reason or "it is not PEM").lower().replace("_", " ")
            raise SettingsError(f"the TLS certificate {self._paths[0]} cannot be used: {reason}") from error
        except (OSError, ValueError) as error:
            path = self._unreadable()
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise SettingsError(f"the TLS file {path} cannot be read: {why}") from error

    def _marks(self) -> Mark:
        found = [Path(path).stat() for path in self._paths]
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)

    def _unreadable(self) -> str:
        return next((path for path in self._paths if not os.access(path, os.R_OK)), self._paths[0])


def _none() -> str:
    """Refuse to ask a terminal for the password of a key."""
    raise ValueError("the key is protected by a password")
