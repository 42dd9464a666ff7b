"""``thv version``."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import thv_core


def test_the_version_and_what_it_runs_on_are_shown(machine: Any) -> None:
    lines = machine.thv("version").stdout.splitlines()
    assert lines[0] == "thv 0.1.0"
    assert [line.split(":")[0] for line in lines[1:]] == ["Python", "Platform", "Location"]
    assert platform.python_version() in lines[1]
    assert lines[3].endswith(str(Path(thv_core.__file__).parent.parent))


def test_json_has_the_same_facts(machine: Any) -> None:
    document = json.loads(machine.thv("version", "--format", "json").stdout)
    assert document["version"] == "0.1.0"
    assert sorted(document) == ["location", "platform", "python", "python_version", "version"]


def test_the_old_flag_still_works_and_says_that_it_is_old(machine: Any) -> None:
    done = machine.thv("version", "--json")
    assert json.loads(done.stdout)["version"] == "0.1.0"
    assert done.stderr == "--json is deprecated, use --format json\n"
