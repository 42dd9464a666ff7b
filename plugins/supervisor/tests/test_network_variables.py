"""What a shell says of the network."""

from __future__ import annotations

import pytest

from thv_supervisor.network_variables import network_variables, proxy_variables


def test_variables_about_the_network_are_found_in_either_case() -> None:
    environment = {
        "https_proxy": "a",
        "HTTP_PROXY": "b",
        "UV_INDEX_URL": "c",
        "NPM_CONFIG_REGISTRY": "d",
        "npm_config_registry": "e",
        "NODE_EXTRA_CA_CERTS": "f",
    }
    others = {"PATH": "x", "npm_config_cache": "y", "npm_config_user_agent": "z"}
    assert network_variables(environment | others) == environment


@pytest.mark.parametrize(
    ("environment", "proxies"),
    [
        ({}, {}),
        ({"HTTPS_PROXY": "a", "NO_PROXY": "n"}, {"HTTPS_PROXY": "a", "NO_PROXY": "n"}),
        ({"https_proxy": "low", "HTTPS_PROXY": "up"}, {"HTTPS_PROXY": "low"}),
        ({"https_proxy": "", "HTTPS_PROXY": "up"}, {"HTTPS_PROXY": "up"}),
        ({"all_proxy": "every"}, {"HTTP_PROXY": "every", "HTTPS_PROXY": "every"}),
        ({"ALL_PROXY": "every", "http_proxy": "own"}, {"HTTP_PROXY": "own", "HTTPS_PROXY": "every"}),
    ],
)
def test_proxies_are_named_in_upper_case(environment: dict[str, str], proxies: dict[str, str]) -> None:
    assert proxy_variables(environment) == proxies
