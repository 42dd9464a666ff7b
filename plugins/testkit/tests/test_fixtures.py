import json
import os
import subprocess
import sys

import pytest

from thv_core.errors import SettingsError, StartFailed
from thv_core.spi import Deployment, DeploymentPlan
from thv_testkit.conversations import Conversation
from thv_testkit.fakes import FakeBuilder, FakeRuntime, FakeSource, UnisolatedWorkshop, echo_root
from thv_testkit.runtime_fixtures import unasked
from thv_testkit.waiting import eventually


def test_loading_the_plugin_imports_nothing_of_the_product():
    script = "import sys, thv_testkit.fixtures; print(*(name for name in sys.modules if name.startswith('thv_')))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["thv_testkit", "thv_testkit.fixtures"]


def test_the_surroundings_are_private_folders_and_a_small_environment(surroundings):
    assert [folder.stat().st_mode & 0o777 for folder in (surroundings.state, surroundings.cache)] == [0o700, 0o700]
    assert set(surroundings.environment) == {"HOME", "PATH"}


def test_the_clock_stands_still_until_it_is_told(clock):
    before = clock()
    assert clock() == before
    clock.advance(1.5)
    clock.sleep(0.5)
    assert clock() == before + 2


def test_the_other_fixtures_are_ready_for_use(memory_store, observer, echo_server):
    assert not memory_store.names()
    assert not observer.events
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    answer = subprocess.run(echo_server, input=message, capture_output=True, timeout=60, check=True)
    assert json.loads(answer.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_the_fake_plugins_are_found_and_loaded_where_their_folder_is_on_the_path(fake_plugins):
    script = (
        "from importlib.metadata import distribution;"
        "print(*sorted(each.load().__name__ for each in distribution('thv-fakes').entry_points))"
    )
    command = [sys.executable, "-c", script]
    environment = {"PYTHONPATH": os.pathsep.join([str(fake_plugins), *filter(None, sys.path)])}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["FakeBuilder", "FakeRuntime", "FakeSource", "MemoryStore", "SocketlessEgress"]


def test_the_fakes_run_a_server_from_its_name_to_its_answer(fake_runtime):
    entry = FakeSource().resolve("fake://echo")
    root = FakeBuilder().build(entry.package, print, UnisolatedWorkshop())
    plan = DeploymentPlan(deployment=Deployment(workload="echo", generation=1), command=root.command, root=root)
    with Conversation(fake_runtime.deploy(plan, unasked).stdio) as server:
        assert server.text("echo", text="hello") == "hello"
    fake_runtime.remove(plan.deployment)
    assert fake_runtime.deployed == [plan]


def test_a_command_that_cannot_start_is_said_to_have_failed_and_leaves_nothing(fake_runtime):
    deployment = Deployment(workload="missing", generation=1)
    plan = DeploymentPlan(deployment=deployment, command=("/no/such/program",), root=echo_root())
    with pytest.raises(StartFailed) as caught:
        fake_runtime.deploy(plan, unasked)
    assert "/no/such/program" in caught.value.evidence[0]
    assert not fake_runtime.observe()


def test_the_fake_runtime_has_no_settings(surroundings):
    with pytest.raises(SettingsError):
        FakeRuntime.from_settings({"colour": "red"}, surroundings)


def test_waiting_ends_with_the_condition_or_fails_the_test():
    results = iter([0, 0, 3])
    assert eventually(lambda: next(results)) == 3
    with pytest.raises(AssertionError, match="not within"):
        eventually(lambda: None, within=0.05)
