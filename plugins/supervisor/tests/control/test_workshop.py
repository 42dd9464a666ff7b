"""Jobs of builders as deployments: real processes of the testkit's runtime, and refusals of a runtime in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.errors import StartFailed, Unsupported
from thv_core.model.plan import CERTIFICATES, Deployment, DeploymentPlan, Environment, ResourceLimits
from thv_core.spi.runtimes import RuntimeCapabilities
from thv_core.spi.workshops import Finished, Job
from thv_supervisor.control import workshop
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.control.workshop import IsolatedWorkshop


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


async def ran(control: Reconciler, job: Job, runtime: str = "processes") -> Finished:
    """Run a job as a builder does: in a worker thread."""
    made = IsolatedWorkshop(runtime, control.ground, asyncio.get_running_loop())
    return await asyncio.wait_for(asyncio.to_thread(made.run, job), 30)


def script(text: str, **more: Any) -> Job:
    return Job(name="uv", command=("/bin/sh", "-c", text), **more)


def planned(rig: Any) -> DeploymentPlan:
    plan: DeploymentPlan = rig.processes.deployed[-1]
    return plan


def test_a_job_tells_its_exit_code_and_everything_that_it_wrote(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        finished = await ran(control, script("echo out; echo error >&2; cat; exit 3"))
        assert finished == Finished(exit_code=3, output="out\nerror\n")
        assert list(rig.processes.observe()) == []
        assert control.ground.jobs == set()

    play(rig, story)


def test_arguments_reach_the_command_as_they_are(rig: Any) -> None:
    command = ("/usr/bin/printf", "%s|", "two words", "$HOME", "'", "-x")

    async def story(control: Reconciler) -> None:
        assert (await ran(control, Job(name="uv", command=command))).output == "two words|$HOME|'|-x|"

    play(rig, story)


def test_a_job_that_writes_more_than_a_pipe_holds_ends_and_its_end_is_kept(rig: Any) -> None:
    many = "i=0; while [ $i -lt 9000 ]; do echo ..............................................$i; i=$((i+1)); done"

    async def story(control: Reconciler) -> None:
        finished = await ran(control, script(many))
        assert finished.exit_code == 0
        assert len(finished.output) == workshop.OUTPUT_LIMIT
        assert finished.output.endswith(".8999\n")

    play(rig, story)


def test_a_job_is_ended_when_its_time_is_over(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        finished = await ran(control, script("echo begun; exec sleep 60", seconds=0.5))
        assert finished.timed_out
        assert finished.output == "begun\n"
        assert list(rig.processes.observe()) == []

    play(rig, story)


def test_the_plan_of_a_job_is_what_the_job_asks_for(rig: Any, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("certificates")
    rig.environment["SSL_CERT_FILE"] = str(authority)
    rig.environment["HTTPS_PROXY"] = "http://proxy.example"
    job = script(
        "exit 0",
        environment=Environment(values={"UV_CACHE_DIR": "/c", "HTTPS_PROXY": "http://proxy.example"}),
        read=("/usr/lib",),
        write=(str(tmp_path),),
        reach=("index.test:443",),
        limits=ResourceLimits(memory=1 << 30),
    )

    async def story(control: Reconciler) -> None:
        await ran(control, job)
        plan = planned(rig)
        assert plan.deployment.workload == f"prepare-uv-{plan.deployment.generation}"
        assert (plan.root.view, plan.workspaces, plan.limits) == (("/usr/lib",), (str(tmp_path),), job.limits)
        assert plan.network.outbound.allow_host == ("index.test:443",)
        assert plan.certificates == str(authority)
        values = plan.environment.values
        assert (values["UV_CACHE_DIR"], values["HTTPS_PROXY"]) == ("/c", "http://127.0.0.1:3128")
        assert values["SSL_CERT_FILE"] == CERTIFICATES
        (handover,) = control.ground.network.handovers
        assert (handover.incarnation, handover.plan.connectors) == (plan.deployment.label, 0)
        assert handover.proxies == {"HTTPS_PROXY": "http://proxy.example"}
        assert rig.gateway.outlets == {}

    play(rig, story)


def test_a_job_that_reaches_nothing_has_no_outlet_and_no_proxy(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await ran(control, script("exit 0"))
        assert control.ground.network.handovers == []
        assert "HTTPS_PROXY" not in planned(rig).environment.values

    play(rig, story)


def test_two_jobs_of_one_name_are_two_deployments(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        await ran(control, script("exit 0"))
        await ran(control, script("exit 0"))
        assert len({plan.deployment.workload for plan in rig.processes.deployed}) == 2

    play(rig, story)


@pytest.mark.parametrize(("name", "word"), [("npm ci @x/y", "npm-ci-x-y"), ("../..", "job"), ("z" * 90, "z" * 40)])
def test_whatever_a_job_is_called_its_deployment_has_a_name(rig: Any, name: str, word: str) -> None:
    async def story(control: Reconciler) -> None:
        await ran(control, Job(name=name, command=("/bin/true",)))
        assert planned(rig).deployment.workload == f"prepare-{word}-{planned(rig).deployment.generation}"

    play(rig, story)


@pytest.mark.parametrize(
    ("capabilities", "reach"),
    [(RuntimeCapabilities(network=True), ()), (RuntimeCapabilities(builds=True), ("index.test",))],
    ids=["no builds", "no network"],
)
def test_a_runtime_that_cannot_run_a_job_is_named(
    rig: Any, capabilities: RuntimeCapabilities, reach: tuple[str, ...]
) -> None:
    rig.runtime.capabilities = capabilities

    async def story(control: Reconciler) -> None:
        with pytest.raises(Unsupported, match="the runtime memory cannot run the preparation") as refused:
            await ran(control, script("exit 0", reach=reach), "memory")
        assert "thv config set runtime" in refused.value.hint
        assert rig.runtime.plans == []

    play(rig, story)


def test_a_job_that_cannot_be_connected_leaves_nothing(rig: Any) -> None:
    rig.enterings.failure = StartFailed("it could not be connected")

    async def story(control: Reconciler) -> None:
        with pytest.raises(StartFailed, match="could not be connected"):
            await ran(control, script("exit 0", reach=("index.test",)))
        assert (list(rig.processes.observe()), rig.gateway.outlets, control.ground.jobs) == ([], {}, set())

    play(rig, story)


def test_a_running_job_is_no_stray_and_that_of_a_dead_predecessor_is(rig: Any) -> None:
    async def story(control: Reconciler) -> None:
        job = asyncio.ensure_future(ran(control, script("exit 0"), "memory"))
        await rig.until(rig.runtime.running)
        for _ in range(3):
            await control.ground.observatory.refresh("memory")
            await control.end_strays("memory")
        (label,) = rig.runtime.running()
        rig.runtime.exit(label, 0)
        await job
        assert rig.runtime.seen == {}
        # What it was to a predecessor of this control, which was killed while it ran.
        rig.runtime.deploy(rig.runtime.plans[0], lambda namespace: None)
        await rig.until(lambda: rig.runtime.seen == {})

    play(rig, story)


def test_a_job_that_cannot_be_removed_has_not_finished_for_its_builder(rig: Any) -> None:
    remove, refusals = rig.processes.remove, [StartFailed("it cannot be killed")]

    def refuse_once(deployment: Deployment) -> None:
        if refusals:
            raise refusals.pop()
        remove(deployment)

    rig.processes.remove = refuse_once

    async def story(control: Reconciler) -> None:
        with pytest.raises(StartFailed, match="it cannot be killed"):
            await ran(control, script("exit 0"))
        assert control.ground.jobs == set()
        await control.ground.observatory.refresh("processes")
        await control.end_strays("processes")
        assert list(rig.processes.observe()) == []

    play(rig, story)


def test_a_builder_gets_a_workshop_of_the_workloads_runtime(rig: Any) -> None:
    given: list[Any] = []
    build = rig.builder.build

    def building(package: Any, report: Any, workshop: Any) -> Any:
        given.append(workshop.run(script("echo prepared")) if not given else None)
        return build(package, report, workshop)

    rig.builder.build = building
    rig.configuration = replace(rig.configuration, runtime="processes")

    async def story(control: Reconciler) -> None:
        await rig.run(control)
        assert given[0] == Finished(exit_code=0, output="prepared\n")
        assert [each.deployment.workload for each in rig.processes.observe()] == ["echo"]

    play(rig, story)
