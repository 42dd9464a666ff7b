from example_thv_secrets import JsonFileStore
from thv_testkit.distributions import DistributionContract
from thv_testkit.secrets import FailingSecretStoreContract


class TestJsonFileStore(FailingSecretStoreContract):
    driver = JsonFileStore
    place = "example-secrets/secrets.json"


class TestDistribution(DistributionContract):
    distribution = "example-thv-secrets"
