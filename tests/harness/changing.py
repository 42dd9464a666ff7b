"""Change a workload that there is: by a manifest, as people do, or by a request, as programs do."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

from harness.home import Thv
from thv_core.errors import ThvError, error_from_document

_ASKING = """
import json, os, sys
from thv_core.errors import ThvError
from thv_supervisor.client import ControlClient
client = ControlClient(os.environ, lambda text: None)
try:
    for _ in client.story("POST", "/api/v1beta/runs", json.loads(sys.stdin.readline())):
        pass
except ThvError as error:
    print(json.dumps(error.document()))
"""


def exported(thv: Thv, name: str) -> dict[str, Any]:
    """Return the configuration of a workload, as ``thv export`` writes it."""
    file = thv.home.parent / f"exported-{name}-{uuid.uuid4().hex[:8]}.json"
    thv.ok("export", name, str(file))
    config: dict[str, Any] = json.loads(file.read_text())
    file.unlink()
    return config


def manifest(file: Path, *configs: dict[str, Any], groups: tuple[str, ...] = ()) -> Path:
    """Write a manifest of these configurations; JSON is YAML."""
    file.write_text(json.dumps({"groups": list(groups), "workloads": list(configs)}, indent=1))
    return file


def applied(thv: Thv, name: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Apply a manifest in which some keys of the workload's configuration are others."""
    file = manifest(thv.home.parent / f"{name}-{uuid.uuid4().hex[:8]}.yaml", {**exported(thv, name), **changes})
    try:
        return thv("apply", "-f", str(file))
    finally:
        file.unlink()


class Asked:
    """A change that a program asks of control, as commands do, and that goes on meanwhile.

    It is a process of its own: whoever finds nobody there starts the processes, with what is in its environment.
    """

    def __init__(self, thv: Thv, config: dict[str, Any]) -> None:
        self._program = subprocess.Popen(
            [*thv.before, str(Path(thv.command).with_name("python")), "-c", _ASKING],
            env=thv.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        request = {"request_id": str(uuid.uuid4()), "replaces": config["name"], "run_config": config}
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(request) + "\n")
        self._program.stdin.flush()

    def ended(self) -> ThvError | None:
        """Wait for its end; return why it was not done."""
        told, _ = self._program.communicate(timeout=200)
        assert self._program.returncode == 0
        return error_from_document(json.loads(told)) if told else None
