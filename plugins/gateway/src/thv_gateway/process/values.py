"""The values of the secrets that routes name, in memory only; control sends them and sends them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

__all__ = ["Values"]


class Values:
    """All values that control has sent; whoever needs some is called when they change."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._readers: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        """Name no value."""
        return f"Values({len(self._known)})"

    def replace(self, values: Mapping[str, str]) -> None:
        """Take all values anew, and tell everyone if that changes anything."""
        if self._known != values:
            self._known = dict(values)
            for reader in list(self._readers):
                reader()

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """Return the values of these secrets, as far as they are known."""
        return {name: self._known[name] for name in names if name in self._known}

    def watch(self, reader: Callable[[], None]) -> Callable[[], None]:
        """Call ``reader`` at each change, until what is returned is called."""
        self._readers.append(reader)

        def forget() -> None:
            if reader in self._readers:
                self._readers.remove(reader)

        return forget
