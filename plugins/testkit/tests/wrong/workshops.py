"""Workshops that are wrong, each caught by the tests that it names."""

import os
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from thv_core.errors import InvalidRequest
from thv_core.spi import Environment, Finished
from thv_testkit.fakes import UnisolatedWorkshop
from thv_testkit.workshops import WorkshopContract


class SaysItIsWell(UnisolatedWorkshop):
    def run(self, job):
        return replace(super().run(job), exit_code=0)


class HearsOneStream(UnisolatedWorkshop):
    def run(self, job):
        run = subprocess.run(job.command, env=job.environment.values, capture_output=True, text=True, check=False)
        return Finished(exit_code=run.returncode, output=run.stderr)


class KeepsTheBeginning(UnisolatedWorkshop):
    def run(self, job):
        finished = super().run(job)
        return replace(finished, output=finished.output[:1000])


class KeepsEverything(UnisolatedWorkshop):
    def run(self, job):
        run = subprocess.run(job.command, env=job.environment.values, capture_output=True, text=True, check=False)
        return Finished(exit_code=run.returncode, output=run.stdout + run.stderr)


class GivesOurEnvironment(UnisolatedWorkshop):
    def run(self, job):
        return super().run(replace(job, environment=Environment(values={**os.environ, **job.environment.values})))


class WritesElsewhere(UnisolatedWorkshop):
    def run(self, job):
        finished = super().run(job)
        for folder in job.write:
            for file in Path(folder).iterdir():
                file.unlink()
        return finished


class CallsASignalATimeOut(UnisolatedWorkshop):
    def run(self, job):
        finished = super().run(job)
        return replace(finished, exit_code=-1) if finished.exit_code > 128 else finished


class RunsAnything(UnisolatedWorkshop):
    def run(self, job):
        try:
            return super().run(job)
        except InvalidRequest:
            return Finished(exit_code=0)


def wrong(driver, *tests):
    fixture = pytest.fixture(lambda self: driver())
    return type(f"Test{driver.__name__}", (WorkshopContract,), {"workshop": fixture, "caught_by": tests})


TestSaysItIsWell = wrong(
    SaysItIsWell,
    "test_a_job_ends_with_its_code_and_what_it_wrote",
    "test_a_job_that_is_killed_has_a_code_and_no_time_out",
    "test_a_job_whose_time_is_over_ends_with_all_its_processes",
)
TestHearsOneStream = wrong(HearsOneStream, "test_a_job_ends_with_its_code_and_what_it_wrote")
TestKeepsTheBeginning = wrong(KeepsTheBeginning, "test_of_much_output_the_end_is_kept")
TestKeepsEverything = wrong(KeepsEverything, "test_of_much_output_the_end_is_kept")
TestGivesOurEnvironment = wrong(GivesOurEnvironment, "test_a_job_has_the_environment_that_it_was_given_and_not_ours")
TestWritesElsewhere = wrong(WritesElsewhere, "test_what_a_job_writes_into_its_folder_stays")
TestCallsASignalATimeOut = wrong(CallsASignalATimeOut, "test_a_job_that_is_killed_has_a_code_and_no_time_out")
TestRunsAnything = wrong(
    RunsAnything, "test_what_cannot_be_reached_is_refused", "test_a_folder_that_does_not_exist_is_refused"
)
