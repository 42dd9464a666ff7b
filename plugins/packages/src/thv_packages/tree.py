"""Make the tree of a root: a virtual environment that holds wheels, compiled and read-only, without running it.

From the first wheel on, nothing in the tree is ever started here: a ``.pth`` file or a ``sitecustomize`` module of a
package would run with the rights of the user. That is why the environment is made by hand (PEP 405) and the base
interpreter compiles, with ``-I -S``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from thv_packages.interpreter import Interpreter
from thv_packages.process import Program

__all__ = ["compile_tree", "make_tree", "seal", "size"]

_COMPILE_SECONDS = 300.0
_READABLE = 0o444
_RUNNABLE = 0o555
_FOLDER = 0o755


def make_tree(tree: Path, interpreter: Interpreter) -> Path:
    """Make an empty virtual environment, as ``venv`` would but without its activation scripts; return its Python."""
    home = Path(interpreter.executable).parent
    (tree / "bin").mkdir(parents=True)
    (tree / interpreter.packages).mkdir(parents=True)
    (tree / "lib64").symlink_to("lib")
    (tree / "pyvenv.cfg").write_text(
        f"home = {home}\ninclude-system-site-packages = false\nversion = {interpreter.version}\n", encoding="utf-8"
    )
    python = tree / "bin" / "python"
    python.symlink_to(interpreter.executable)
    (tree / "bin" / "python3").symlink_to("python")
    return python


def compile_tree(tree: Path, interpreter: Interpreter, keep: int) -> None:
    """Write the byte code of every module, which nobody can do later; a module that does not compile stays as it is.

    The byte code is not checked against its source when it is loaded: nothing in the tree changes any more.

    :param keep: the descriptor of the lock of the root.
    """
    compiler = (interpreter.executable, "-I", "-S", "-m", "compileall", "-q", "-q", "-j", "0")
    Program(
        (*compiler, "--invalidation-mode", "unchecked-hash", str(tree / interpreter.packages)),
        directory="/",
        seconds=_COMPILE_SECONDS,
        keep=(keep,),
    ).run()


def seal(tree: Path) -> None:
    """Make every file read-only; folders stay writable, so that whoever may delete the cache can.

    Everybody may read, because a sandbox may run the server as another user; the cache above the tree is private.
    """
    for folder, _, _ in os.walk(tree):
        Path(folder).chmod(_FOLDER)
    for path in _files(tree):
        path.chmod(_RUNNABLE if path.stat().st_mode & 0o100 else _READABLE)


def size(tree: Path) -> int:
    """Return how many bytes the files of a tree have."""
    return sum(path.stat().st_size for path in _files(tree))


def _files(tree: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(tree):
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                yield path
