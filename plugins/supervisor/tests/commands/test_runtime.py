"""Which runtimes there are, whether they work, and which one is chosen."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thv_core import kernel
from thv_core.errors import PluginBroken, PluginNotFound, RuntimeUnavailable
from thv_core.spi.runtimes import Probe
from thv_supervisor.commands.runtime import runtime

READY = Probe(ready=True, detail="bubblewrap 0.8")
UNREADY = Probe(ready=False, detail="no engine answers", hint="Start it.")


class FakeDrivers:
    """Runtimes by name: what their probe answers, or an error that is raised instead of them."""

    def __init__(self) -> None:
        self.probes: dict[str, Any] = {"docker": UNREADY, "sandbox": READY}

    def names(self, contract: type) -> tuple[str, ...]:
        return tuple(sorted(self.probes))

    def get(self, contract: type, name: str) -> Any:
        answer = self.probes.get(name, PluginNotFound(f"there is no runtime {name!r}"))
        if isinstance(answer, BaseException):
            raise answer
        return SimpleNamespace(probe=answer if callable(answer) else lambda: answer)


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDrivers:
    drivers = FakeDrivers()
    composed = SimpleNamespace(
        drivers=drivers,
        configuration=SimpleNamespace(runtime="sandbox"),
        paths=SimpleNamespace(config_file=tmp_path / "config.yaml"),
    )
    monkeypatch.setattr(kernel, "compose", lambda environment, system: composed)
    return drivers


def test_the_only_runtime_is_named_with_what_it_uses(invoke: Any, drivers: FakeDrivers, console: Any) -> None:
    del drivers.probes["docker"]
    assert invoke(runtime, "check").exit_code == 0
    assert console.lines == ["sandbox: bubblewrap 0.8"]


def test_of_several_each_is_told_and_the_chosen_one_first(invoke: Any, drivers: FakeDrivers, console: Any) -> None:
    assert invoke(runtime, "check").exit_code == 0
    assert console.lines == ["sandbox: bubblewrap 0.8 (chosen)", "docker: not ready: no engine answers"]
    invoke(runtime, "check", "--format", "json")
    (document,) = console.documents
    assert (document["runtime"], document["ready"], document["detail"]) == ("sandbox", True, "bubblewrap 0.8")
    assert [each["ready"] for each in document["runtimes"]] == [True, False]


def test_when_none_is_ready_all_are_told_with_what_to_do(invoke: Any, drivers: FakeDrivers) -> None:
    drivers.probes["sandbox"] = Probe(ready=False, detail="no user namespaces", hint="Allow them.")
    with pytest.raises(RuntimeUnavailable, match="no runtime here can isolate a server") as failed:
        invoke(runtime, "check")
    assert failed.value.evidence == ("sandbox: no user namespaces", "docker: no engine answers")
    assert failed.value.hint == "Allow them.\nStart it."


def test_when_another_one_is_ready_it_is_proposed(invoke: Any, drivers: FakeDrivers) -> None:
    drivers.probes |= {"sandbox": UNREADY, "docker": READY}
    with pytest.raises(RuntimeUnavailable, match="sandbox cannot isolate servers here") as failed:
        invoke(runtime, "check")
    assert failed.value.hint == "Start it.\nOr use another:  thv runtime use docker"


def test_a_runtime_that_is_broken_or_not_installed_is_not_ready(invoke: Any, drivers: FakeDrivers) -> None:
    drivers.probes = {"docker": PluginBroken("docker of thv-docker 1 is broken", evidence=["no module"])}
    with pytest.raises(RuntimeUnavailable) as failed:
        invoke(runtime, "check")
    assert failed.value.evidence == (
        "sandbox: there is no runtime 'sandbox'",
        "docker: docker of thv-docker 1 is broken: no module",
    )


def test_one_that_does_not_answer_in_time_is_not_waited_for(invoke: Any, drivers: FakeDrivers) -> None:
    answered = threading.Event()
    drivers.probes["sandbox"] = lambda: answered.wait(60)
    with pytest.raises(RuntimeUnavailable) as failed:
        invoke(runtime, "check", "--timeout", "1")
    answered.set()
    assert "sandbox: there was no answer within 1 s" in failed.value.evidence


def test_a_runtime_that_works_can_be_chosen(invoke: Any, drivers: FakeDrivers, console: Any, tmp_path: Path) -> None:
    drivers.probes["docker"] = READY
    assert invoke(runtime, "use", "docker").exit_code == 0
    assert (tmp_path / "config.yaml").read_text() == "runtime: docker\n"
    assert console.messages == ["docker is now the default runtime. Running servers stay where they are."]


def test_one_that_does_not_work_cannot_be_chosen(invoke: Any, drivers: FakeDrivers, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="docker cannot isolate servers here") as failed:
        invoke(runtime, "use", "docker")
    assert (failed.value.evidence, failed.value.hint) == (("no engine answers",), "Start it.")
    with pytest.raises(PluginNotFound):
        invoke(runtime, "use", "podman")
    assert not (tmp_path / "config.yaml").exists()
