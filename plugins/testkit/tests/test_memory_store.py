import pytest

from thv_testkit.fakes import MemoryStore
from thv_testkit.secrets import SecretStoreContract


class TestMemoryStore(SecretStoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()
