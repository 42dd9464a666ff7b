"""How clients meet a workload, in the words of a route."""

from __future__ import annotations

import msgspec
import pytest

from thv_core.model.route import ForwardHeader, Terms
from thv_core.model.run_config import RunConfig
from thv_core.model.serving import HeaderForward, ScalingConfig, SessionRedis
from thv_core.services.serving import (
    client_terms,
    client_url,
    forward_headers,
    header_secrets,
    request_timeout,
)

CONFIG = RunConfig(name="time", image="uvx://t@1", port=19001)


def changed(**keys: object) -> RunConfig:
    return msgspec.structs.replace(CONFIG, **keys)


def test_a_configuration_that_says_nothing_has_the_usual_terms() -> None:
    assert client_terms(CONFIG) == Terms()
    assert client_terms(changed(session_ttl="0s")) == Terms()
    assert request_timeout(CONFIG, 300.0) == 300.0
    assert forward_headers(CONFIG) == ()


def test_every_key_is_one_of_the_terms() -> None:
    redis = SessionRedis(address="redis:6379")
    config = changed(
        socket="/s",
        tls_certificate="/c",
        tls_key="/k",
        allowed_origins=("https://a.example",),
        stateless=True,
        session_ttl="1m30s",
        endpoint_prefix="/team",
        trust_proxy_headers=True,
        strict_protocol_validation=True,
        scaling_config=ScalingConfig(session_redis=redis),
        stdio_sessions="per-client",
    )
    assert client_terms(config) == Terms(
        socket="/s",
        tls_certificate="/c",
        tls_key="/k",
        origins=("https://a.example",),
        stateless=True,
        session_ttl=90.0,
        endpoint_prefix="/team",
        trust_proxy_headers=True,
        session_redis=redis,
        seats_per_client=True,
    )
    assert request_timeout(changed(request_timeout="1.5s"), 300.0) == 1.5


def test_a_header_by_secret_carries_the_name_of_it_and_one_of_a_shell_that_of_its_workload_too() -> None:
    headers = HeaderForward(
        add_plaintext_headers={"X-Team": "search"},
        add_headers_from_secret={"Authorization": "token", "X-Key": "env:KEY", "X-Other": "token"},
    )
    config = changed(header_forward=headers)
    assert forward_headers(config) == (
        ForwardHeader(name="X-Team", value="search"),
        ForwardHeader(name="Authorization", secret="token"),
        ForwardHeader(name="X-Key", secret="env:KEY of time"),
        ForwardHeader(name="X-Other", secret="token"),
    )
    assert header_secrets(config) == ("token", "env:KEY")


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({}, "http://127.0.0.1:19001/mcp"),
        ({"host": "::1"}, "http://[::1]:19001/mcp"),
        ({"proxy_mode": "sse"}, "http://127.0.0.1:19001/sse#time"),
        ({"tls_certificate": "/c", "tls_key": "/k"}, "https://127.0.0.1:19001/mcp"),
        ({"socket": "/run/a b.sock"}, "http+unix://%2Frun%2Fa%20b.sock/mcp"),
    ],
)
def test_the_url_says_how_clients_reach_it(keys: dict[str, object], url: str) -> None:
    assert client_url(changed(**keys)) == url
