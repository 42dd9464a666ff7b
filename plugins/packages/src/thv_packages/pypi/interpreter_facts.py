"""Print what a Python interpreter says of itself, as JSON: a program on the standard library, run by that interpreter.

It is started with ``-I -S``, so that nothing of any environment is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

LINKED = ("_bz2", "_ctypes", "_lzma", "_sqlite3", "_ssl", "pyexpat", "zlib")
"""Extension modules of the standard library that are linked with libraries, which may lie anywhere."""

VISIBLE = ("/usr", "/bin", "/lib", "/lib64", "/sbin")
"""What every sandbox shows, because a system is not one without it."""


def facts() -> dict[str, object]:
    """Return the executable, version, ABI, platform, relative package folder, and folders that it needs to see."""
    executable = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    return {
        "executable": executable,
        "version": platform.python_version(),
        "abi": str(sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag),
        "platform": sysconfig.get_platform(),
        "packages": packages_folder(),
        "view": view(executable),
    }


def packages_folder() -> str:
    """Return where packages lie below a virtual environment, ``lib/python3.11/site-packages``."""
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    folder = sysconfig.get_path("purelib", scheme, vars={"base": "/root", "platbase": "/root"})
    return str(Path(folder).relative_to("/root"))


def view(executable: str) -> list[str]:
    """Return the folders, not under ``/usr``, that the interpreter needs at the same path, none below another."""
    prefixes = {sys.base_prefix, sys.base_exec_prefix}
    prefixes = {path for path in prefixes | {os.path.realpath(each) for each in prefixes} if own(path)}
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    needed = {*prefixes, str(Path(executable).parent), *standard, *map(os.path.realpath, standard), *libraries()}
    outside = sorted(path for path in needed if not any(below(path, system) for system in VISIBLE))
    return [path for path in outside if not any(path != other and below(path, other) for other in outside)]


def own(prefix: str) -> bool:
    """Tell whether a prefix belongs to Python alone, and may be shown whole: no home, and no folder of all programs."""
    return not below(os.environ.get("HOME", "/"), prefix) and prefix != "/opt" and Path(prefix).name != ".local"


def libraries() -> Iterator[str]:
    """Yield the folders of the shared libraries that the interpreter and its standard library load."""
    for name in LINKED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(OSError), Path("/proc/self/maps").open(encoding="utf-8", errors="replace") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if ".so" in path:
                yield str(Path(f"/{path}").parent)


def below(path: str, folder: str) -> bool:
    """Tell whether ``path`` is ``folder`` or lies in it."""
    return Path(path).is_relative_to(folder)


if __name__ == "__main__":
    json.dump(facts(), sys.stdout)
