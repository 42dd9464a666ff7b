"""Make the tree of a root: a virtual environment that holds wheels, compiled, without running it.

From the first wheel on, nothing in the tree is ever started here: a ``.pth`` file or a ``sitecustomize`` module of a
package would run with the rights of the user. That is why the environment is made by hand (PEP 405) and the base
interpreter compiles, with ``-I -S``.
"""

from __future__ import annotations

from pathlib import Path

from thv_packages.disk import remove
from thv_packages.process import Program
from thv_packages.pypi.interpreter import Interpreter

__all__ = ["clear_own", "compile_tree", "make_own", "make_tree"]

_COMPILE_SECONDS = 300.0
_COMPILER = """
import compileall, resource, sys
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
most = 2 << 30
resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
sys.exit(not compileall.main())
"""
"""Compiles with bounded memory: a module may be a small file in its wheel and fill the memory of this machine."""

_OWN = ("bin/python", "bin/python3", "lib64", "pyvenv.cfg")
"""What is ours in a tree, and not of any package."""


def make_tree(tree: Path, interpreter: Interpreter) -> Path:
    """Make an empty virtual environment, as ``venv`` would but without its activation scripts; return its Python."""
    (tree / "bin").mkdir(parents=True)
    (tree / interpreter.packages).mkdir(parents=True)
    return make_own(tree, interpreter)


def make_own(tree: Path, interpreter: Interpreter) -> Path:
    """Make what is ours in a tree that lacks it, and return its Python."""
    home = Path(interpreter.executable).parent
    (tree / "lib64").symlink_to("lib")
    (tree / "pyvenv.cfg").write_text(
        f"home = {home}\ninclude-system-site-packages = false\nversion = {interpreter.version}\n", encoding="utf-8"
    )
    python = tree / "bin" / "python"
    python.symlink_to(interpreter.executable)
    (tree / "bin" / "python3").symlink_to("python")
    return python


def clear_own(tree: Path) -> None:
    """Delete what is ours in a tree, whatever a job has made of it.

    :raises OSError: when ``bin`` is no folder any more.
    """
    if (tree / "bin").is_symlink():
        raise OSError(None, "its folder of programs was replaced", str(tree / "bin"))
    for name in _OWN:
        remove(tree / name)


def compile_tree(tree: Path, interpreter: Interpreter, keep: int) -> None:
    """Write the byte code of every module, which nobody can do later; a module that does not compile stays as it is.

    The byte code is not checked against its source when it is loaded: nothing in the tree changes any more.

    :param keep: the descriptor of the lock of the root.
    """
    compiler = (interpreter.executable, "-I", "-S", "-c", _COMPILER, "-q", "-q", "-j", "0")
    Program(
        (*compiler, "--invalidation-mode", "unchecked-hash", str(tree / interpreter.packages)),
        directory="/",
        seconds=_COMPILE_SECONDS,
        keep=(keep,),
    ).run()
