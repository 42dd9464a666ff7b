from __future__ import annotations

import pytest

from thv_core.spi import Runtime, Surroundings
from thv_sandbox.runtime import SandboxRuntime
from thv_testkit.runtimes import RuntimeContract


class TestTheSandboxIsARuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self, surroundings: Surroundings) -> Runtime:
        return SandboxRuntime.from_settings({}, surroundings)
