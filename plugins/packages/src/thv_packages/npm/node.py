"""The Node that packages run with: which it is, what it says of itself, and where its npm lies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from thv_core.errors import InvalidDocument, PreparationFailed
from thv_core.model.document import Document, decode_document
from thv_packages.identity import file_identity
from thv_packages.process import Program
from thv_packages.reach import authority

__all__ = ["Node", "default_registry", "identity", "inspect", "on_path"]

OLDEST = 18

_SECONDS = 30.0
_HINT = "Set `node` of the plugin to the path of a Node that has npm, or remove the setting."
_VISIBLE = ("/usr", "/bin", "/lib", "/lib64", "/sbin")
"""What every sandbox shows, because a system is not one without it."""

_FACTS = """
process.report.excludeNetwork = true
process.stdout.write(JSON.stringify({
  executable: process.execPath,
  version: process.versions.node,
  abi: process.versions.modules,
  platform: `${process.platform}-${process.arch}`,
  libraries: process.report.getReport().sharedObjects.filter((path) => path.startsWith("/")),
}))
"""


class _Facts(Document, frozen=True, kw_only=True):
    executable: str
    version: str
    abi: str
    platform: str
    libraries: tuple[str, ...]


class Node(Document, frozen=True, kw_only=True):
    """A Node: ``npm`` is the folder of its npm, ``view`` what a server needs to see of it at the same path."""

    executable: str
    version: str
    abi: str
    platform: str
    npm: str
    view: tuple[str, ...] = ()

    @property
    def headers(self) -> str:
        """The folder that holds ``include/node``, or an empty string."""
        prefix = Path(self.executable).parent.parent
        return str(prefix) if (prefix / "include" / "node" / "node.h").is_file() else ""


def on_path(path: str) -> Iterator[str]:
    """Yield every ``node`` of a search path, in its order; the first may be one that came without npm."""
    folders = dict.fromkeys(folder for folder in path.split(":") if folder.startswith("/"))
    return filter(None, (shutil.which("node", path=folder) for folder in folders))


def identity(node: str, *more: object) -> str:
    """Return 16 hex digits that change with the Node or the machine, without starting it.

    :param more: what else tells its packages apart.
    :raises PreparationFailed: when there is no such file.
    """
    try:
        return file_identity(node, *more)
    except OSError as error:
        raise PreparationFailed(f"there is no Node at {node}: {error.strerror}", hint=_HINT) from error


def inspect(node: str) -> Node:
    """Ask a Node for its facts, and look for its npm; takes some 50 ms.

    :raises PreparationFailed: when it does not answer, is too old, or has no npm.
    """
    environment = {"PATH": f"{Path(node).parent}:{os.defpath}", "HOME": "/nonexistent"}
    finished = Program((node, "-e", _FACTS), directory="/", seconds=_SECONDS, environment=environment).run()
    try:
        facts = decode_document(finished.output, _Facts, node)
    except InvalidDocument:
        raise PreparationFailed(
            f"{node} is not a usable Node", evidence=finished.errors.strip().splitlines()[-3:], hint=_HINT
        ) from None
    major = facts.version.partition(".")[0]
    if not major.isdecimal() or int(major) < OLDEST:
        raise PreparationFailed(f"{node} is Node {facts.version}, and {OLDEST} is the oldest usable", hint=_HINT)
    npm = next(_npm_folders(node, facts.executable), "")
    if not npm:
        raise PreparationFailed(f"{node} has no npm beside it", hint=_HINT)
    return Node(
        executable=os.path.realpath(facts.executable),
        version=facts.version,
        abi=facts.abi,
        platform=facts.platform,
        npm=npm,
        view=_view(facts),
    )


def default_registry(node: Node) -> str:
    """Return the URL of the registry that npm asks when nobody names one; takes some 300 ms.

    :raises PreparationFailed: when npm does not say it.
    """
    files = {f"npm_config_{name}config": f"/nonexistent/{name}" for name in ("user", "global")}
    environment = {"PATH": f"{Path(node.executable).parent}:{os.defpath}", "HOME": "/nonexistent", **files}
    argv = (node.executable, f"{node.npm}/bin/npm-cli.js", "config", "get", "registry")
    finished = Program(argv, directory="/", seconds=_SECONDS, environment=environment).run()
    url = finished.output.strip()
    if not authority(url):
        raise PreparationFailed(
            "npm does not say which registry it asks",
            evidence=finished.errors.strip().splitlines()[-3:],
            hint="Name it:  thv config set plugins.npx.registry URL",
        )
    return url


def _npm_folders(node: str, executable: str) -> Iterator[str]:
    """Yield the folders of npm that belong to a Node: where its command leads, and where installations keep it."""
    binaries = dict.fromkeys((Path(node).parent, Path(executable).parent, Path(os.path.realpath(executable)).parent))
    for folder in binaries:
        script = os.path.realpath(folder / "npm")
        candidates = (
            *([Path(script).parent.parent] if script.endswith("/bin/npm-cli.js") else []),
            folder.parent / "lib" / "node_modules" / "npm",
            folder.parent / "share" / "nodejs" / "npm",
        )
        for each in candidates:
            if (each / "bin" / "npm-cli.js").is_file():
                yield os.path.realpath(each)


def _view(facts: _Facts) -> tuple[str, ...]:
    needed = {os.path.realpath(facts.executable), *(str(Path(path).parent) for path in facts.libraries)}
    return tuple(sorted(path for path in needed if not any(_below(path, folder) for folder in _VISIBLE)))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
