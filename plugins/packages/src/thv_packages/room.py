"""Where jobs work: a folder that is thrown away, with what every job needs, and a workshop that runs them."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from thv_core.spi import Environment, Finished, Job, Workshop
from thv_packages.disk import remove, shared_folder

__all__ = ["SYSTEM_PATH", "Errand", "Room", "opened"]

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"

_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Errand:
    """One job for a room; ``read`` and ``write`` are what it sees and writes besides."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


@dataclass(frozen=True)
class Room:
    """A folder for jobs, what they see besides (``read``), and the hosts that they reach."""

    folder: Path
    workshop: Workshop
    read: tuple[str, ...]
    reach: tuple[str, ...]

    def run(self, errand: Errand) -> Finished:
        """Run one job to its end.

        What a job left in the folder may be links: nothing is written into the folder after the first.

        :raises ThvError: when it cannot be isolated or started.
        """
        certificates = self.folder / "certificates.pem"
        trusted = dict.fromkeys(_CERTIFICATE_VARIABLES, str(certificates)) if certificates.exists() else {}
        values = {
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PATH": SYSTEM_PATH,
            "LANG": "C.UTF-8",
            **trusted,
            **errand.environment,
        }
        return self.workshop.run(
            Job(
                name=errand.name,
                command=errand.command,
                environment=Environment(values=values),
                read=(*self.read, *errand.read),
                write=(str(self.folder), *errand.write),
                reach=self.reach,
            )
        )


@contextlib.contextmanager
def opened(room: Room, certificates: bytes) -> Generator[Room, None, None]:
    """Make the folders of a room, whatever an interrupted job left there, and delete what is not kept afterwards.

    :param certificates: whom its jobs trust, in PEM form; they may lie where a job could not read them.
    """
    remove(room.folder)
    room.folder.mkdir(parents=True)
    shared_folder(room.folder)
    for name in ("home", "tmp", "cache"):
        shared_folder(room.folder / name)
    if certificates:
        (room.folder / "certificates.pem").write_bytes(certificates)
        (room.folder / "certificates.pem").chmod(0o644)
    try:
        yield room
    finally:
        remove(room.folder)
