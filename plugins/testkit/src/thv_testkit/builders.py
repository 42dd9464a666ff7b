"""The conformance class of builders (:class:`thv_core.spi.Builder`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from thv_core.errors import PackageNotFound, PreparationFailed, RuntimeUnavailable, Unavailable
from thv_core.spi import Builder, Finished, Job, PackageRoot, PackageSpec, Progress, Workshop
from thv_testkit.fakes import UnisolatedWorkshop
from thv_testkit.interruptions import killed_after

__all__ = ["BuilderContract"]

_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "thv-testkit", "version": "1"},
    },
}


class BuilderContract:
    """What every builder does. Give the fixtures ``builder``, ``unreachable`` and the packages.

    ``unreachable`` is a second instance in the same surroundings, whose index does not answer: what it can still build
    was prepared, and touches no network. Override ``workshop`` to run the jobs of the builder in isolation.
    """

    within: float = 120.0
    """Seconds that a build or the start of a server may take."""

    @pytest.fixture
    def builder(self) -> Builder:
        """Give the builder under test, with nothing prepared."""
        raise NotImplementedError("give a fixture named builder")

    @pytest.fixture
    def unreachable(self) -> Builder:
        """Give a second builder in the same surroundings, with an index that does not answer."""
        raise NotImplementedError("give a fixture named unreachable")

    @pytest.fixture
    def workshop(self) -> Workshop:
        """Give the workshop in which the builder runs its jobs; it isolates nothing."""
        return UnisolatedWorkshop()

    @pytest.fixture
    def package(self) -> PackageSpec:
        """Give a package whose executable is an MCP server over standard input and output."""
        raise NotImplementedError("give a fixture named package")

    @pytest.fixture
    def unknown(self, package: PackageSpec) -> PackageSpec:
        """Give a package that the index does not have."""
        return PackageSpec(scheme=package.scheme, name="thv-testkit-no-such-package", version="1.0.0")

    @pytest.fixture
    def unrunnable(self) -> PackageSpec:
        """Give a package that the index has, and that offers no executable."""
        raise NotImplementedError("give a fixture named unrunnable")

    def test_a_root_is_a_command_with_every_folder_that_it_must_see(
        self, builder: Builder, package: PackageSpec, workshop: Workshop
    ) -> None:
        root = builder.build(package, _unheard, workshop)
        assert isinstance(root, PackageRoot)
        assert Path(root.path).is_absolute()
        assert os.access(root.command[0], os.X_OK)
        for path in (root.path, root.command[0], *root.view):
            assert Path(path).is_absolute()
            assert Path(path).exists()

    def test_the_command_starts_a_server_that_answers(
        self, builder: Builder, package: PackageSpec, workshop: Workshop
    ) -> None:
        root = builder.build(package, _unheard, workshop)
        assert _handshake(root, self.within)["serverInfo"]

    def test_progress_is_reported(self, builder: Builder, package: PackageSpec, workshop: Workshop) -> None:
        reports: list[Progress] = []
        builder.build(package, reports.append, workshop)
        assert reports
        assert all(isinstance(report, Progress) and report.step and report.text for report in reports)

    def test_building_again_gives_the_same_root_and_touches_no_network(
        self, builder: Builder, unreachable: Builder, package: PackageSpec, workshop: Workshop
    ) -> None:
        root = builder.build(package, _unheard, workshop)
        assert builder.build(package, _unheard, workshop) == root
        assert unreachable.build(package, _unheard, workshop) == root

    def test_a_package_that_is_not_prepared_needs_the_index(
        self, unreachable: Builder, unknown: PackageSpec, workshop: Workshop
    ) -> None:
        with pytest.raises(Unavailable):
            unreachable.build(unknown, _unheard, workshop)

    def test_an_unknown_package_is_not_found_and_named(
        self, builder: Builder, unknown: PackageSpec, workshop: Workshop
    ) -> None:
        with pytest.raises(PackageNotFound) as caught:
            builder.build(unknown, _unheard, workshop)
        assert unknown.name in caught.value.message

    def test_an_unknown_version_is_not_found(self, builder: Builder, package: PackageSpec, workshop: Workshop) -> None:
        with pytest.raises(PackageNotFound):
            builder.build(PackageSpec(scheme=package.scheme, name=package.name, version="0.0.0"), _unheard, workshop)

    def test_a_package_without_an_executable_fails_with_evidence(
        self, builder: Builder, unrunnable: PackageSpec, workshop: Workshop
    ) -> None:
        for _ in range(2):
            with pytest.raises(PreparationFailed) as caught:
                builder.build(unrunnable, _unheard, workshop)
            assert caught.value.evidence

    def test_builds_at_the_same_time_give_one_root(
        self, builder: Builder, unreachable: Builder, package: PackageSpec, workshop: Workshop
    ) -> None:
        roots: list[PackageRoot] = []
        threads = [
            threading.Thread(target=lambda: roots.append(builder.build(package, _unheard, workshop)), daemon=True)
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.within)
        assert len(roots) == len(threads)
        assert roots[0] == roots[1] == roots[2] == unreachable.build(package, _unheard, workshop)

    @pytest.mark.parametrize("moment", [0.0, 0.05, 0.4])
    def test_an_interrupted_build_leaves_nothing_that_a_later_one_would_take(
        self, builder: Builder, package: PackageSpec, moment: float, workshop: Workshop
    ) -> None:
        killed_after(moment, partial(builder.build, package, _unheard, workshop), programs=True)
        assert _handshake(builder.build(package, _unheard, workshop), self.within)["serverInfo"]

    def test_a_job_that_cannot_be_isolated_ends_the_build_and_leaves_nothing_that_a_later_one_would_take(
        self, builder: Builder, package: PackageSpec, workshop: Workshop
    ) -> None:
        # A builder that runs nothing of a package needs no workshop.
        with contextlib.suppress(RuntimeUnavailable):
            builder.build(package, _unheard, _ClosedWorkshop())
        assert _handshake(builder.build(package, _unheard, workshop), self.within)["serverInfo"]

    def test_what_is_listed_as_prepared_can_be_discarded_and_built_anew(
        self, builder: Builder, package: PackageSpec, workshop: Workshop
    ) -> None:
        root = builder.build(package, _unheard, workshop)
        listed = [each for each in builder.prepared() if each.reference == package.reference]
        for each in listed:
            assert (each.path, each.packages, each.size) == (root.path, root.packages, root.size)
            builder.discard(each)
            assert not Path(each.path).exists()
        assert not [each for each in builder.prepared() if each.reference == package.reference]
        for each in listed:
            builder.discard(each)
        assert _handshake(builder.build(package, _unheard, workshop), self.within)["serverInfo"]

    def test_what_a_second_instance_lists_is_the_same(
        self, builder: Builder, unreachable: Builder, package: PackageSpec, workshop: Workshop
    ) -> None:
        builder.build(package, _unheard, workshop)
        assert _listed(unreachable) == _listed(builder)


class _ClosedWorkshop(Workshop):
    """A workshop on a machine that cannot isolate anything."""

    def run(self, job: Job) -> Finished:
        raise RuntimeUnavailable(f"the job {job.name} cannot be isolated here")


def _unheard(progress: Progress) -> None:
    assert isinstance(progress, Progress)


def _listed(builder: Builder) -> list[tuple[str, str]]:
    return sorted((each.reference, each.path) for each in builder.prepared())


def _handshake(root: PackageRoot, within: float) -> dict[str, object]:
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", **root.environment}
    pipe = subprocess.PIPE
    with subprocess.Popen(root.command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            server.stdin.write(json.dumps(_HELLO).encode() + b"\n")
            server.stdin.flush()
            readable, _, _ = select.select([server.stdout], [], [], within)
            assert readable, f"no answer within {within:g} seconds"
            answer: dict[str, dict[str, object]] = json.loads(server.stdout.readline() or b"{}")
            return answer.get("result", {})
        finally:
            server.kill()
