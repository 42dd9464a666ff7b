"""The kinds of user that tests can be: root, and, when they are root, somebody ordinary."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.home import Thv

ORDINARY = 47114
"""No account of it needs to exist: the kernel asks for none."""

USERS = ["root", "ordinary"] if os.getuid() == 0 else ["ordinary"]


@dataclass(frozen=True)
class User:
    """A user with a folder of its own, outside of those that only the tests may enter."""

    uid: int
    folder: Path

    @property
    def before(self) -> tuple[str, ...]:
        """The words before a command that make it run as this user."""
        if self.uid == os.getuid():
            return ()
        return ("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--")

    def thv(self, wheels: Path | None, *before: str) -> Thv:
        """Return this user's thv; ``before`` are words before those that change the user."""
        system = Thv(self.folder / "home", wheels, before=(*before, *self.before))
        system.environment["HOME"] = str(self.folder)
        system.environment.update({f"XDG_{kind}_HOME": str(self.folder / kind.lower()) for kind in ("DATA", "CACHE")})
        return system

    def own(self, *paths: Path) -> None:
        """Make this user the owner of files that the tests made."""
        _give(self.uid, paths)

    def lend(self, *paths: Path) -> None:
        """Make somebody ordinary the owner of what a server is granted: this user, or another one beside root."""
        _give(self.uid or ORDINARY, paths)


def _give(uid: int, paths: Iterable[Path]) -> None:
    for path in paths:
        for each in (path, *path.rglob("*")):
            os.chown(each, uid, uid)


@contextmanager
def user_of(kind: str) -> Iterator[User]:
    """Hold a user of this kind."""
    uid = {"root": 0, "ordinary": ORDINARY}[kind] if os.getuid() == 0 else os.getuid()
    folder = Path(tempfile.mkdtemp(prefix="thv-user-"))
    user = User(uid, folder)
    folder.chmod(0o755)
    user.own(folder)
    try:
        yield user
    finally:
        shutil.rmtree(folder)
