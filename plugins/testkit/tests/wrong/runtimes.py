"""Runtimes that are wrong, each caught by the tests that it names."""

import fcntl
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest

from thv_core.errors import NotFound, StartFailed, Unavailable
from thv_core.spi import Deployment, Environment, Namespace, Observed, ObservedState, Probe, RuntimeCapabilities, Stdio
from thv_testkit.fake_life import Life
from thv_testkit.fake_runtime import FakeRuntime
from thv_testkit.runtimes import RuntimeContract


class NeverReady(FakeRuntime):
    def probe(self):
        return Probe(ready=False, detail="this machine cannot")


class SharesFifos(FakeRuntime):
    def deploy(self, plan, connect):
        observed = super().deploy(plan, connect)
        Path(observed.stdio.stdin).chmod(0o666)
        return observed


class ReadsItself(FakeRuntime):
    def deploy(self, plan, connect):
        observed = super().deploy(plan, connect)
        self.lock = os.open(observed.stdio.lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        return observed


class StartsAnew(FakeRuntime):
    def deploy(self, plan, connect):
        self.remove(plan.deployment)
        return super().deploy(plan, connect)


class KnowsOnlyItsOwn(FakeRuntime):
    def observe(self):
        mine = {plan.deployment for plan in self.deployed}
        return [each for each in super().observe() if each.deployment in mine]


class ConfusesGenerations(FakeRuntime):
    def deploy(self, plan, connect):
        deployment = msgspec.structs.replace(plan.deployment, generation=0)
        return super().deploy(msgspec.structs.replace(plan, deployment=deployment), connect)


class LeaksEnvironment(FakeRuntime):
    def deploy(self, plan, connect):
        values = {**os.environ, **plan.environment.values}
        return super().deploy(msgspec.structs.replace(plan, environment=Environment(values=values)), connect)


class ForgetsEnvironment(FakeRuntime):
    def deploy(self, plan, connect):
        return super().deploy(msgspec.structs.replace(plan, environment=Environment()), connect)


class WritesSecrets(FakeRuntime):
    def deploy(self, plan, connect):
        observed = super().deploy(plan, connect)
        (self._folder / plan.deployment.label / "environment").write_text(str(plan.environment.values))
        return observed


class SecretsInArguments(FakeRuntime):
    def deploy(self, plan, connect):
        variables = [f"{name}={value}" for name, value in plan.environment.values.items()]
        return super().deploy(
            msgspec.structs.replace(plan, command=("/usr/bin/env", *variables, "sleep", "60")), connect
        )


class LeavesChildren(FakeRuntime):
    def stop(self, deployment, grace):
        life = Life(self._folder / deployment.label)
        life.signal(signal.SIGTERM)
        time.sleep(grace)

    def remove(self, deployment):
        super().stop(deployment, 0)
        shutil.rmtree(self._folder / deployment.label, ignore_errors=True)


class StopsOneAfterTheOther(FakeRuntime):
    turn = threading.Lock()

    def stop(self, deployment, grace):
        with self.turn:
            super().stop(deployment, grace)


class ForgetsAtTheStop(FakeRuntime):
    def stop(self, deployment, grace):
        self.remove(deployment)

    def remove(self, deployment):
        super().stop(deployment, 0)
        shutil.rmtree(self._folder / deployment.label, ignore_errors=True)


class NeverForgets(FakeRuntime):
    def remove(self, deployment):
        self.stop(deployment, 0)


class HidesWhatItShouldRemove(FakeRuntime):
    def remove(self, deployment):
        self.asked = getattr(self, "asked", 0) + 1
        # The second time it is the end of the test that asks.
        if self.asked > 1:
            super().remove(deployment)


class UnknownIsAnError(FakeRuntime):
    def stop(self, deployment, grace):
        if not (self._folder / deployment.label).exists():
            raise NotFound(f"there is no deployment {deployment.label}")
        super().stop(deployment, grace)


class ListsHalfStarts(FakeRuntime):
    def deploy(self, plan, connect):
        begun = self._folder.parent / "begun" / plan.deployment.label
        begun.parent.mkdir(exist_ok=True)
        begun.write_bytes(msgspec.json.encode(plan.deployment))
        time.sleep(0.05)
        return super().deploy(plan, connect)

    def observe(self):
        found = {each.deployment: each for each in super().observe()}
        for begun in (self._folder.parent / "begun").glob("*"):
            deployment = msgspec.json.decode(begun.read_bytes(), type=Deployment)
            stdio = Stdio(stdin="", stdout="", lock="")
            half = Observed(deployment=deployment, state=ObservedState.EXITED, stdio=stdio)
            found.setdefault(deployment, half)
        return list(found.values())


class PromisesAnything(FakeRuntime):
    capabilities = RuntimeCapabilities(packages=True)

    def prepare(self, plan, report):
        """Refuse nothing."""


class ConnectsTooLate(FakeRuntime):
    def deploy(self, plan, connect):
        observed = super().deploy(plan, lambda _: None)
        connect(self.namespace(plan.deployment))
        return observed


class StumblesOverTheRemoved(FakeRuntime):
    def observe(self):
        found = super().observe()
        time.sleep(0.05)
        return [each for each in found if Path(each.stdio.stdin).stat()]


class NeverConnects(FakeRuntime):
    def deploy(self, plan, connect):
        return super().deploy(plan, lambda _: None)


class ConnectsTwice(FakeRuntime):
    def deploy(self, plan, connect):
        return super().deploy(plan, lambda space: (connect(space), connect(space)))


class ConnectsWhatReachesNothing(FakeRuntime):
    def deploy(self, plan, connect):
        return super().deploy(msgspec.structs.replace(plan, port=plan.port or 8000), connect)


class ConnectsWhatRuns(FakeRuntime):
    def deploy(self, plan, connect):
        before = self.deployed.copy()
        observed = super().deploy(plan, connect)
        if before == self.deployed:
            connect(self.namespace(plan.deployment))
        return observed


class WrapsWhatConnectingRaises(FakeRuntime):
    def deploy(self, plan, connect):
        try:
            return super().deploy(plan, connect)
        except (ValueError, Unavailable):
            raise StartFailed("it could not be connected") from None


class NamesAnEarlierProcess(FakeRuntime):
    def namespace(self, deployment):
        found = super().namespace(deployment)
        return msgspec.structs.replace(found, start=found.start - 1)


class NamesTheNamespaceOfTheDead(FakeRuntime):
    known = None

    def namespace(self, deployment):
        if self.known is None:
            self.known = super().namespace(deployment)
        return self.known

    def stop(self, deployment, grace):
        self.known = self.known or Namespace(pid=os.getpid(), start=1)
        super().stop(deployment, grace)


class SaysNothingOfLimits(FakeRuntime):
    def deploy(self, plan, connect):
        return msgspec.structs.replace(super().deploy(plan, connect), limits=())


class SaysCpuWithoutLimit(FakeRuntime):
    def deploy(self, plan, connect):
        observed = super().deploy(plan, connect)
        return msgspec.structs.replace(observed, limits=(*observed.limits, "cpu 0 (cgroup)"))


class PromisesLimits(FakeRuntime):
    def prepare(self, plan, report):
        """Refuse nothing."""


class ForgetsNotes(FakeRuntime):
    def observe(self):
        return [msgspec.structs.replace(each, notes=()) for each in super().observe()]


class IgnoresTail(FakeRuntime):
    def logs(self, deployment, *, tail=None, follow=False):
        return super().logs(deployment, follow=follow)


class NeverFollows(FakeRuntime):
    def logs(self, deployment, *, tail=None, follow=False):
        return super().logs(deployment, tail=tail)


class FollowsForEver(FakeRuntime):
    def logs(self, deployment, *, tail=None, follow=False):
        yield from super().logs(deployment, tail=tail, follow=follow)
        until = time.monotonic() + 2
        while follow and time.monotonic() < until:
            yield b""
            time.sleep(0.1)


class LogsOfNobody(FakeRuntime):
    def logs(self, deployment, *, tail=None, follow=False):
        try:
            return super().logs(deployment, tail=tail, follow=follow)
        except NotFound:
            return iter([])


class LosesLogsAtTheExit(FakeRuntime):
    def logs(self, deployment, *, tail=None, follow=False):
        if Life(self._folder / deployment.label).is_running:
            return super().logs(deployment, tail=tail, follow=follow)
        return iter([])


class InventsAnExitCode(FakeRuntime):
    def observe(self):
        return [
            msgspec.structs.replace(each, exit_code=0) if each.state is ObservedState.EXITED else each
            for each in super().observe()
        ]


def wrong(driver, *tests, **members):
    fixture = pytest.fixture(lambda self, surroundings: driver.from_settings({}, surroundings))
    return type(f"Test{driver.__name__}", (RuntimeContract,), {"runtime": fixture, "caught_by": tests, **members})


TestNeverReady = wrong(NeverReady, "test_the_probe_says_in_words_whether_it_can_isolate")
TestSharesFifos = wrong(SharesFifos, "test_the_gateway_finds_private_fifos_and_a_lock_that_is_free")
TestReadsItself = wrong(ReadsItself, "test_the_gateway_finds_private_fifos_and_a_lock_that_is_free")
TestStartsAnew = wrong(StartsAnew, "test_deploying_twice_starts_one_process")
TestKnowsOnlyItsOwn = wrong(KnowsOnlyItsOwn, "test_a_second_instance_finds_a_server_with_its_memory")
TestConfusesGenerations = wrong(
    ConfusesGenerations, "test_deploying_describes_a_running_server", "test_servers_do_not_share_anything"
)
TestLeaksEnvironment = wrong(LeaksEnvironment, "test_a_server_has_the_environment_that_it_was_given_and_not_ours")
TestForgetsEnvironment = wrong(ForgetsEnvironment, "test_a_server_has_the_environment_that_it_was_given_and_not_ours")
TestWritesSecrets = wrong(WritesSecrets, "test_the_value_of_a_secret_is_in_no_argument_vector_file_or_representation")
TestSecretsInArguments = wrong(
    SecretsInArguments, "test_the_value_of_a_secret_is_in_no_argument_vector_file_or_representation"
)
TestStopsOneAfterTheOther = wrong(StopsOneAfterTheOther, "test_a_long_grace_ends_when_a_shorter_one_is_given")
TestForgetsAtTheStop = wrong(
    ForgetsAtTheStop,
    "test_stopping_ends_every_process_and_the_exit_stays_observable",
    "test_a_second_instance_can_stop_and_remove_a_server",
)
TestNeverForgets = wrong(NeverForgets, "test_removing_kills_and_forgets")
TestHidesWhatItShouldRemove = wrong(HidesWhatItShouldRemove, "test_a_removed_life_can_be_lived_anew")
TestUnknownIsAnError = wrong(UnknownIsAnError, "test_an_unknown_deployment_is_no_error")
TestPromisesAnything = wrong(
    PromisesAnything,
    "test_the_sockets_of_a_server_are_made_once_before_its_first_instruction",
    "test_the_namespace_is_that_of_a_live_process",
    "test_what_does_not_run_has_no_namespace",
)
TestConnectsTooLate = wrong(
    ConnectsTooLate,
    "test_the_sockets_of_a_server_are_made_once_before_its_first_instruction",
    "test_what_connecting_raises_comes_through_and_nothing_is_left",
    "test_a_start_that_was_interrupted_while_it_was_connected_never_was",
)
TestStumblesOverTheRemoved = wrong(StumblesOverTheRemoved, "test_observing_goes_on_while_others_are_removed")
TestNeverConnects = wrong(
    NeverConnects,
    "test_the_sockets_of_a_server_are_made_once_before_its_first_instruction",
    "test_a_second_instance_finds_the_namespace",
)
TestConnectsTwice = wrong(ConnectsTwice, "test_the_sockets_of_a_server_are_made_once_before_its_first_instruction")
TestConnectsWhatReachesNothing = wrong(
    ConnectsWhatReachesNothing, "test_a_server_that_reaches_nothing_and_has_no_port_gets_no_sockets"
)
TestConnectsWhatRuns = wrong(ConnectsWhatRuns, "test_deploying_a_running_server_makes_no_sockets")
TestWrapsWhatConnectingRaises = wrong(
    WrapsWhatConnectingRaises, "test_what_connecting_raises_comes_through_and_nothing_is_left"
)
TestNamesAnEarlierProcess = wrong(NamesAnEarlierProcess, "test_the_namespace_is_that_of_a_live_process")
TestNamesTheNamespaceOfTheDead = wrong(NamesTheNamespaceOfTheDead, "test_what_does_not_run_has_no_namespace")
TestSaysNothingOfLimits = wrong(
    SaysNothingOfLimits, "test_it_is_told_of_each_limit_how_it_is_enforced_or_that_it_is_not"
)
TestSaysCpuWithoutLimit = wrong(SaysCpuWithoutLimit, "test_no_limit_of_processors_is_told_when_there_is_none")
TestPromisesLimits = wrong(PromisesLimits, "test_required_limits_are_enforced_or_the_server_is_refused")
TestForgetsNotes = wrong(ForgetsNotes, "test_notes_are_sentences_for_its_user_and_stay_the_same")
TestIgnoresTail = wrong(IgnoresTail, "test_logs_are_what_the_server_wrote_to_standard_error")
TestNeverFollows = wrong(NeverFollows, "test_following_logs_goes_on_until_the_exit", patience=0.5)
TestLogsOfNobody = wrong(LogsOfNobody, "test_logs_of_an_unknown_deployment_are_not_found")
TestLosesLogsAtTheExit = wrong(LosesLogsAtTheExit, "test_logs_stay_after_the_exit")
TestInventsAnExitCode = wrong(InventsAnExitCode, "test_an_exit_is_observed_with_its_code_if_that_is_known")
TestListsHalfStarts = wrong(ListsHalfStarts, "test_a_start_that_was_interrupted_is_whole_or_never_was")
TestFollowsForEver = wrong(FollowsForEver, "test_following_ends_when_the_deployment_is_removed", patience=0.5)
TestLeavesChildren = wrong(LeavesChildren, "test_stopping_ends_every_process_and_the_exit_stays_observable")
