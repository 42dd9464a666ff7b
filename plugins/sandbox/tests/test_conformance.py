from __future__ import annotations

import pytest

from thv_core.spi import Runtime, Surroundings
from thv_sandbox.runtime import SandboxRuntime
from thv_testkit.runtime_views import IsolatingRuntimeContract


class TestTheSandboxIsARuntime(IsolatingRuntimeContract):
    @pytest.fixture
    def runtime(self, surroundings: Surroundings) -> Runtime:
        return SandboxRuntime.from_settings({}, surroundings)
