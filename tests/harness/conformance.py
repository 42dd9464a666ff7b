"""The conformance suites of MCP against a server, and what they found, check by check."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.npm import installed, node

FORMER, NEWEST = "0.1.16", "0.2.0-alpha.12"


@dataclass(frozen=True)
class Suite:
    """Scenarios of one version of the suite, which speak one era."""

    name: str
    version: str
    options: tuple[str, ...]


SUITES = {
    each.name: each
    for each in (
        Suite("all-0.1.16", FORMER, ("--suite", "all")),
        Suite("2025-11-25", NEWEST, ("--requirements", "2025-11-25")),
        Suite("2026-07-28", NEWEST, ("--requirements", "2026-07-28")),
    )
}
LEGACY, MODERN = ("all-0.1.16", "2025-11-25"), ("2026-07-28",)

Checks = Counter[tuple[str, str]]
"""How often a check, by its id, had a status."""


@dataclass(frozen=True)
class Findings:
    """What a suite found: the checks of each scenario, and what it said about those that failed."""

    scenarios: Mapping[str, Checks]
    said: Mapping[str, tuple[str, ...]]

    def count(self, status: str) -> int:
        """Return how many checks have a status."""
        return sum(
            number for checks in self.scenarios.values() for (_, found), number in checks.items() if found == status
        )

    def judged(self) -> dict[str, Checks]:
        """Return the scenarios without what is only for information, such as how many events came."""
        return {
            name: Counter({check: number for check, number in checks.items() if check[1] != "INFO"})
            for name, checks in self.scenarios.items()
        }

    def lacking(self, other: Findings) -> dict[str, tuple[str, ...]]:
        """Return the scenarios in which fewer checks succeed than the other found, with what the suite said.

        A check that is only for information does not lack: it is about what a server may leave out, such as an answer
        as a stream.
        """
        return {
            name: self.said.get(name, ())
            for name, checks in other.scenarios.items()
            if _having(checks, "SUCCESS") - _having(self.scenarios.get(name, Counter()), "SUCCESS", "INFO")
        }


def _having(checks: Checks, *statuses: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for (check, status), number in checks.items():
        found[check] += number * (status in statuses)
    return found


def examine(url: str, suite: Suite, folder: Path) -> Findings:
    """Run a suite against a server; ``folder`` takes its reports."""
    program = installed(f"@modelcontextprotocol/conformance@{suite.version}")
    script = program / "@modelcontextprotocol/conformance/dist/index.js"
    command = [node(), str(script), "server", "--url", url, *suite.options, "--output-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    reports = sorted(folder.glob("*/checks.json"))
    assert reports, done.stdout + done.stderr
    scenarios: dict[str, Checks] = {}
    said: dict[str, tuple[str, ...]] = {}
    for report in reports:
        found = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT.*", report.parent.name)
        assert found is not None, report
        checks = json.loads(report.read_text())
        scenarios[found[1]] = Counter((each["id"], each["status"]) for each in checks)
        said[found[1]] = tuple(
            f"{each['id']}: {each.get('errorMessage', '')[:300]}"
            for each in checks
            if each["status"] not in ("SUCCESS", "INFO")
        )
    return Findings(scenarios, said)
