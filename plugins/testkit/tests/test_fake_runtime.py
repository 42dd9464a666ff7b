import pytest
from msgspec.structs import replace

from thv_core.errors import Unsupported
from thv_core.spi import Runtime, RuntimeCapabilities
from thv_testkit.fakes import FakeRuntime
from thv_testkit.runtime_limits import RuntimeLimitsContract
from thv_testkit.runtime_network import RuntimeNetworkContract
from thv_testkit.runtimes import RuntimeContract


class TestFakeRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self, surroundings):
        return FakeRuntime.from_settings({}, surroundings)


class OffersLess(FakeRuntime):
    """What a runtime does that has neither namespaces nor limits."""

    capabilities = RuntimeCapabilities(packages=True)

    def prepare(self, plan, report):
        if plan.network.reaches_out or plan.port or plan.require_limits:
            raise Unsupported("it offers neither network nor limits")

    def deploy(self, plan, connect):
        return self._untold(super().deploy(plan, connect))

    def observe(self):
        return [self._untold(each) for each in super().observe()]

    def _untold(self, observed):
        return replace(observed, limits=())

    namespace = Runtime.namespace


class TestOffersLess(RuntimeNetworkContract, RuntimeLimitsContract):
    @pytest.fixture
    def runtime(self, surroundings):
        return OffersLess.from_settings({}, surroundings)
