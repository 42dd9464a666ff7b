from dataclasses import replace

import pytest

from thv_core.errors import SecretNotFound, SettingsError
from thv_secrets_local.environment import EnvironmentStore
from thv_testkit.distributions import DistributionContract
from thv_testkit.secrets import SecretStoreContract

KNOWN = {"github": "shh-github", "api.key": "shh-key", "UPPER": "shh-upper", "empty": ""}


class TestEnvironmentStore(SecretStoreContract):
    @pytest.fixture
    def known(self):
        return KNOWN

    @pytest.fixture
    def store(self, surroundings):
        variables = {f"TOOLHIVE_SECRET_{name}": value for name, value in KNOWN.items()}
        foreign = {"HOME": "/home/me", "toolhive_secret_lower": "x", "THV_TOOLHIVE_SECRET_inner": "x"}
        return EnvironmentStore.from_settings({}, replace(surroundings, environment={**foreign, **variables}))

    def test_the_case_of_a_name_counts(self, store):
        with pytest.raises(SecretNotFound):
            store.get("GITHUB")

    def test_the_hint_names_the_variable_to_set(self, store):
        with pytest.raises(SecretNotFound) as caught:
            store.get("gitlab")
        assert "TOOLHIVE_SECRET_gitlab" in caught.value.hint

    def test_variables_without_the_prefix_cannot_be_reached(self, store):
        with pytest.raises(SecretNotFound):
            store.get("HOME")

    def test_a_setting_is_refused_by_its_name(self, surroundings):
        with pytest.raises(SettingsError) as caught:
            EnvironmentStore.from_settings({"prefix": "X_"}, surroundings)
        assert "prefix" in caught.value.message


class TestDistribution(DistributionContract):
    distribution = "thv-secrets-local"
