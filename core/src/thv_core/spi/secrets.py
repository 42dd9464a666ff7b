"""The contract of secret stores. Group ``thv.secrets``; one is chosen by name in ``secrets.provider``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from thv_core.errors import Unsupported
from thv_core.spi.drivers import Driver

__all__ = ["SecretStore", "StoreCapabilities"]


@dataclass(frozen=True)
class StoreCapabilities:
    """What a store offers beyond :meth:`SecretStore.get`."""

    writable: bool = False
    listable: bool = True


class SecretStore(Driver):
    """Keeps secrets by name. A value never appears in a message, a log or a representation."""

    capabilities = StoreCapabilities()

    @abstractmethod
    def get(self, name: str) -> str:
        """Return the value of a secret.

        :raises SecretNotFound: when there is none of that name.
        :raises SecretStoreFailed: when the store cannot be read.
        """

    @abstractmethod
    def names(self) -> Iterable[str]:
        """Return the names of all secrets, sorted.

        :raises Unsupported: when ``capabilities.listable`` is false.
        :raises SecretStoreFailed: when the store cannot be read.
        """

    def set(self, name: str, value: str) -> None:
        """Store a value under a name, replacing what was there.

        :raises Unsupported: when ``capabilities.writable`` is false, as it is by default.
        :raises SecretStoreFailed: when the store cannot be written; what was there is kept.
        """
        raise Unsupported(f"{type(self).__name__} does not support writing secrets")

    def delete(self, name: str) -> None:
        """Delete a secret.

        :raises SecretNotFound: when there is none of that name.
        :raises Unsupported: when ``capabilities.writable`` is false, as it is by default.
        :raises SecretStoreFailed: when the store cannot be written.
        """
        raise Unsupported(f"{type(self).__name__} does not support deleting secrets")
