"""Write configurations to where a user wants them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from thv_core.errors import InvalidRequest
from thv_core.model.group import DEFAULT_GROUP
from thv_core.model.run_config import RunConfig
from thv_core.state.files import write_atomically

__all__ = ["as_yaml", "manifest_document", "save"]

NO_WRAPPING = 1 << 16
"""A width that no line reaches, so that none is folded."""


def manifest_document(configs: Iterable[RunConfig], groups: Iterable[str]) -> dict[str, object]:
    """Return workloads and groups as a manifest: what applying it to them finds unchanged."""
    return {
        "groups": [group for group in groups if group != DEFAULT_GROUP],
        "workloads": [msgspec.to_builtins(config) for config in configs],
    }


def as_yaml(document: object, comment: str) -> bytes:
    """Return plain data as YAML 1.2 below a comment of one line."""
    from ruamel.yaml import YAML  # heavy, and only for this

    yaml = YAML(typ="safe", pure=True)
    shape: Any = yaml
    shape.default_flow_style = False
    shape.sort_base_mapping_type_on_output = False
    shape.allow_unicode = True
    shape.width = NO_WRAPPING
    written = io.StringIO()
    shape.dump(document, written)
    return f"# {comment}\n{written.getvalue()}".encode()


def save(content: bytes, path: Path, name: str) -> None:
    """Write a file that only its user can read, making the folders above it, mode 0750.

    :param name: what the user called it.
    :raises InvalidRequest: when it cannot be written, or is no file.
    """
    try:
        if path.exists() and not path.is_file():
            raise InvalidRequest(f"{name} is no file", hint="Name a file, or - for standard output.")
        for folder in _missing(path.parent):
            folder.mkdir(mode=0o750, exist_ok=True)
        write_atomically(path, content)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidRequest(f"{name} cannot be written: {reason}") from None


def _missing(folder: Path) -> Sequence[Path]:
    """Return the folders that do not exist, the outermost first."""
    chain = [folder, *folder.parents]
    return [each for each in reversed(chain) if not each.exists()]
