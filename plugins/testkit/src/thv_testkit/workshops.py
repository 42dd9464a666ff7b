"""The conformance class of workshops (:class:`thv_core.spi.Workshop`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest
from msgspec.structs import replace

from thv_core.errors import InvalidRequest, ThvError
from thv_core.spi import Environment, Finished, Job, Workshop
from thv_testkit.waiting import eventually

__all__ = ["JobMaker", "WorkshopContract"]

_MOST = 256 << 10
_HELD = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o666)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
os.fork()
time.sleep(600)
"""
_FLOOD = """
import sys
for stream in (sys.stdout, sys.stderr):
    for number in range(80000):
        print(number, file=stream)
    stream.flush()
print("the end", file=sys.stderr)
"""


class JobMaker(Protocol):
    """Makes a job that runs a Python script with these arguments; ``changes`` are fields of the job."""

    def __call__(self, script: str, *arguments: str, **changes: object) -> Job:
        """Make the job."""
        ...


class WorkshopContract:
    """What every workshop does. Give the fixture ``workshop``.

    Override ``job_for`` when its jobs do not see the interpreter of the test at ``sys.executable``, and ``folder`` when
    jobs may write only below another place.
    """

    @pytest.fixture
    def workshop(self) -> Workshop:
        """Give the workshop under test."""
        raise NotImplementedError("give a fixture named workshop")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Give an empty folder for jobs to write."""
        folder = tmp_path / "written-by-jobs"
        folder.mkdir()
        # A job may run as somebody else.
        folder.chmod(0o777)
        return folder

    @pytest.fixture
    def job_for(self) -> JobMaker:
        """Give what makes jobs of Python scripts."""

        def make(script: str, *arguments: str, **changes: object) -> Job:
            # Not the link of a virtual environment: whoever is isolated sees only what the interpreter itself needs.
            interpreter = str(Path(sys.executable).resolve())
            view = tuple(dict.fromkeys((sys.base_prefix, sys.base_exec_prefix)))
            command = (interpreter, "-I", "-S", "-B", "-c", script, *arguments)
            return replace(Job(name="conformance", command=command, read=view, seconds=60.0), **changes)

        return make

    @pytest.mark.parametrize("code", [0, 1, 42])
    def test_a_job_ends_with_its_code_and_what_it_wrote(self, workshop: Workshop, job_for: JobMaker, code: int) -> None:
        script = f"import sys; print('to output', flush=True); print('to error', file=sys.stderr); sys.exit({code})"
        finished = workshop.run(job_for(script))
        assert isinstance(finished, Finished)
        assert (finished.exit_code, finished.timed_out) == (code, False)
        assert sorted(finished.output.splitlines()) == ["to error", "to output"]

    def test_a_job_that_is_killed_has_a_code_and_no_time_out(self, workshop: Workshop, job_for: JobMaker) -> None:
        finished = workshop.run(job_for("import os; os.kill(os.getpid(), 9)"))
        assert finished.exit_code > 0
        assert not finished.timed_out

    def test_what_a_job_writes_into_its_folder_stays(self, workshop: Workshop, job_for: JobMaker, folder: Path) -> None:
        script = "import pathlib, sys; pathlib.Path(sys.argv[1], 'made').write_text('by a job')"
        assert workshop.run(job_for(script, str(folder), write=(str(folder),))).exit_code == 0
        assert (folder / "made").read_text() == "by a job"

    def test_a_job_reads_what_it_is_shown_at_the_same_path(
        self, workshop: Workshop, job_for: JobMaker, folder: Path
    ) -> None:
        (folder / "note").write_text("a note")
        job = job_for("import sys; print(open(sys.argv[1]).read())", f"{folder}/note")
        assert workshop.run(replace(job, read=(*job.read, str(folder)))).output.strip() == "a note"

    def test_a_job_has_the_environment_that_it_was_given_and_not_ours(
        self, workshop: Workshop, job_for: JobMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("THV_TESTKIT_FOREIGN", "not granted")
        script = "import os; print(os.environ.get('GRANTED'), 'THV_TESTKIT_FOREIGN' in os.environ)"
        finished = workshop.run(job_for(script, environment=Environment(values={"GRANTED": "a value"})))
        assert finished.output.split("\n")[0] == "a value False"

    def test_of_much_output_the_end_is_kept(self, workshop: Workshop, job_for: JobMaker) -> None:
        finished = workshop.run(job_for(_FLOOD))
        assert finished.exit_code == 0
        assert finished.output.splitlines()[-2:] == ["79999", "the end"]
        assert len(finished.output.encode()) <= _MOST

    def test_output_that_is_not_text_is_shown_as_far_as_it_is(self, workshop: Workshop, job_for: JobMaker) -> None:
        finished = workshop.run(job_for(r"import os; os.write(1, b'before \xff after\n')"))
        assert finished.output.startswith("before ")
        assert finished.output.rstrip().endswith(" after")

    def test_a_job_whose_time_is_over_ends_with_all_its_processes(
        self, workshop: Workshop, job_for: JobMaker, folder: Path
    ) -> None:
        before = time.monotonic()
        finished = workshop.run(job_for(_HELD, f"{folder}/lock", write=(str(folder),), seconds=1.5))
        assert time.monotonic() - before < 30
        assert (finished.exit_code, finished.timed_out) == (-1, True)
        assert finished.output.strip() == "held"
        eventually(lambda: _is_free(folder / "lock"))

    def test_what_a_job_leaves_running_ends_with_it(self, workshop: Workshop, job_for: JobMaker, folder: Path) -> None:
        script = _HELD.replace("os.fork()", "os.fork() and os._exit(0)")
        finished = workshop.run(job_for(script, f"{folder}/lock", write=(str(folder),)))
        assert finished.exit_code == 0
        eventually(lambda: _is_free(folder / "lock"))

    def test_jobs_run_at_the_same_time(self, workshop: Workshop, job_for: JobMaker) -> None:
        with ThreadPoolExecutor(3) as workers:
            texts = ("one", "two", "three")
            jobs = [job_for(f"print('{text}')") for text in texts]
            assert [finished.output.strip() for finished in workers.map(workshop.run, jobs)] == list(texts)

    def test_a_program_that_does_not_exist_is_an_error(self, workshop: Workshop, job_for: JobMaker) -> None:
        job = replace(job_for(""), command=("/no/such/program",))
        with contextlib.suppress(ThvError):
            assert workshop.run(job).exit_code > 0

    @pytest.mark.parametrize("entry", ["http://example.com", "two words"])
    def test_what_cannot_be_reached_is_refused(self, workshop: Workshop, job_for: JobMaker, entry: str) -> None:
        with pytest.raises(InvalidRequest):
            workshop.run(job_for("", reach=(entry,)))

    def test_a_folder_that_does_not_exist_is_refused(self, workshop: Workshop, job_for: JobMaker, folder: Path) -> None:
        with pytest.raises(ThvError):
            workshop.run(job_for("", write=(f"{folder}/missing",)))


def _is_free(file: Path) -> bool:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
