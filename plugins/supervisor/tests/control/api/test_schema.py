"""The description of the API, held against what the API does: schemathesis sends what it may be sent, and worse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from thv_core.model.group import Group

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS = ["/api/v1beta/events"]
"""Answers that never end; they have tests of their own."""

EXAMPLES = 12


@pytest.fixture
def described(served: Any, ledger: Any, rig: Any) -> Any:
    """The schema that a listener serves, of a control that has a workload and a group."""

    async def prepared() -> None:
        served.control.ground.store.add_group(Group(name="team"))
        await rig.run(served.control)

    asyncio.run_coroutine_threadsafe(prepared(), served.loop).result(10.0)
    url = served.listen(auth="none", openapi=True)
    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    return schema.exclude(path=ENDLESS)


def exercise(operation: Any, mode: GenerationMode, name: str) -> None:
    """Call an operation with what its description allows, or with what it does not.

    :param name: whose operation it is, or whatever comes when it is empty.
    """

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def called(case: Any) -> None:
        case.query = {key: value for key, value in (case.query or {}).items() if key != "follow"}
        if name:
            case.path_parameters = {"name": name}
        case.call_and_validate(checks=CHECKS, timeout=10)

    called()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
def test_every_operation_does_what_its_description_says(described: Any, mode: GenerationMode) -> None:
    operations = [result.ok() for result in described.get_all_operations()]
    assert len(operations) > 25
    for operation in operations:
        exercise(operation, mode, "")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
def test_every_operation_on_what_there_is_does_what_its_description_says(described: Any, mode: GenerationMode) -> None:
    operations = [result.ok() for result in described.get_all_operations()]
    named = [each for each in operations if "{name}" in each.path and each.method != "delete"]
    assert len(named) > 10
    for operation in named:
        exercise(operation, mode, "team" if "/groups/" in operation.path else "echo")
