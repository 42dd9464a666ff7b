import pytest

from thv_core.spi import Job
from thv_testkit.fakes import UnisolatedWorkshop
from thv_testkit.workshops import WorkshopContract


class TestUnisolatedWorkshop(WorkshopContract):
    @pytest.fixture
    def workshop(self):
        return UnisolatedWorkshop()


def test_it_remembers_its_jobs_in_order():
    workshop = UnisolatedWorkshop()
    jobs = [Job(name=name, command=("/bin/true",)) for name in ("one", "two")]
    for job in jobs:
        workshop.run(job)
    assert workshop.jobs == jobs
