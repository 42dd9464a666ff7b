"""Secrets in one JSON object, ``{"NAME": "VALUE"}``, in a file of mode 0600."""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self, cast

from thv_core.errors import SecretNotFound, SecretStoreFailed, SettingsError
from thv_core.spi import SecretStore, StoreCapabilities, Surroundings


class JsonFileStore(SecretStore):
    """Keeps secrets, unencrypted, in the JSON file at ``path``."""

    capabilities = StoreCapabilities(writable=True)

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the store from its one setting, ``path``; without it the file lies in the state of thv."""
        path = settings.get("path", str(surroundings.state / "example-secrets" / "secrets.json"))
        if not isinstance(path, str) or not Path(path).is_absolute():
            raise SettingsError("path is not an absolute path", hint="Write path: /home/me/secrets.json")
        if unknown := sorted(settings.keys() - {"path"}):
            raise SettingsError(f"{unknown[0]} is not a setting of this store", hint="It knows: path.")
        return cls(Path(path))

    def get(self, name: str) -> str:
        """Return the value of a secret."""
        try:
            return self._read()[name]
        except KeyError:
            raise SecretNotFound(f"there is no secret {name}", hint=f"Add it to {self._path}.") from None

    def names(self) -> list[str]:
        """Return the names of all secrets, sorted."""
        return sorted(self._read())

    def set(self, name: str, value: str) -> None:
        """Store a value under a name."""
        with self._changing() as secrets:
            secrets[name] = value

    def delete(self, name: str) -> None:
        """Delete a secret."""
        with self._changing() as secrets:
            if secrets.pop(name, None) is None:
                raise SecretNotFound(f"there is no secret {name}", hint=f"See {self._path}.")

    def _read(self) -> dict[str, str]:
        try:
            return _texts(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._failure("cannot be read", error) from None
        except (ValueError, AttributeError, RecursionError):
            message = f"{self._path} is damaged: it is not a JSON object of texts"
            raise SecretStoreFailed(message, hint="Restore it, or move it away and set the secrets again.") from None

    @contextmanager
    def _changing(self) -> Generator[dict[str, str]]:
        """Yield the secrets to change and write them back, while no other process can do the same."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A file of its own, that stays: the lock on a file that is replaced or removed locks nobody out.
            with self._path.with_name(self._path.name + ".lock").open("a") as lock:
                self._lock(lock.fileno())
                secrets = self._read()
                yield secrets
                self._replace(json.dumps(secrets, indent=2))
        except OSError as error:
            raise self._failure("cannot be written", error) from None

    def _lock(self, descriptor: int) -> None:
        """Wait until no other process writes, for ten seconds at most: ``flock`` itself has no bound."""
        for _ in range(1000):
            with suppress(BlockingIOError):
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.01)
        raise SecretStoreFailed(f"{self._path} is locked by another process", hint="Try again in a moment.")

    def _replace(self, text: str) -> None:
        """Put a complete new file in the place of the old one: a crash leaves the one or the other."""
        with tempfile.TemporaryDirectory(prefix=f"{self._path.name}.", dir=self._path.parent) as private:
            draft = Path(private, "draft")
            with open(draft, "x", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)

    def _failure(self, what: str, error: OSError) -> SecretStoreFailed:
        message = f"{self._path} {what}: {error.strerror}"
        return SecretStoreFailed(message, hint=f"Check who owns {self._path.parent}, and its disk's free space.")


def _texts(parsed: object) -> dict[str, str]:
    if not all(isinstance(value, str) for value in cast("dict[str, object]", parsed).values()):
        raise ValueError("a value is not a text")
    return cast("dict[str, str]", parsed)
