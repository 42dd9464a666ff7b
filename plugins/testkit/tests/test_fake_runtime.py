import pytest

from thv_testkit.fakes import FakeRuntime
from thv_testkit.runtimes import RuntimeContract


class TestFakeRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self, surroundings):
        return FakeRuntime.from_settings({}, surroundings)
