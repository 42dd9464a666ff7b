import pytest

from thv_core.spi import PackageSpec
from thv_testkit.builders import BuilderContract
from thv_testkit.fakes import FakeBuilder, FakeSource
from thv_testkit.sources import ServerSourceContract


class TestFakeSource(ServerSourceContract):
    scheme, package, version, misspelt = "fake", "echo", "1.0.0", "ehco"

    @pytest.fixture
    def source(self):
        return FakeSource()

    @pytest.fixture
    def unreachable(self):
        return FakeSource(reachable=False)


class TestFakeBuilder(BuilderContract):
    @pytest.fixture
    def builder(self):
        return FakeBuilder()

    @pytest.fixture
    def unreachable(self):
        return FakeBuilder(reachable=False)

    @pytest.fixture
    def package(self):
        return PackageSpec(scheme="fake", name="echo", version="1.0.0")

    @pytest.fixture
    def unrunnable(self):
        return PackageSpec(scheme="fake", name="empty", version="1.0.0")
