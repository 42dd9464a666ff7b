"""The egress keeps the contract of every egress."""

import pytest

from thv_core.spi import Egress, Surroundings
from thv_egress.driver import NameEgress
from thv_testkit.distributions import DistributionContract
from thv_testkit.egress import EgressContract


class TestNameEgress(EgressContract):
    """What every egress does."""

    @pytest.fixture
    def egress(self, surroundings: Surroundings) -> Egress:
        return NameEgress.from_settings({}, surroundings)


class TestDistribution(DistributionContract):
    """What every distribution declares."""

    distribution = "thv-egress"
