"""The keys of a RunConfig that say how clients meet a workload."""

from __future__ import annotations

import json

import msgspec
import pytest

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import encode_document
from thv_core.model.route import ForwardHeader
from thv_core.model.run_config import RunConfig, checked, decode_run_config
from thv_core.model.serving import SERVING, HeaderForward, ScalingConfig, Serving, SessionRedis
from thv_core.model.serving_checks import redis_address

PIPES = {"name": "time", "image": "uvx://t@1"}
LISTENING = PIPES | {"transport": "streamable-http"}
REMOTE = {"name": "far", "remote_url": "https://mcp.example/mcp"}


def made(document: dict[str, object], **keys: object) -> RunConfig:
    return decode_run_config(msgspec.json.encode(document | keys), "time.json")


def test_a_run_config_has_these_keys_with_the_same_types_and_defaults() -> None:
    of_config = {each.name: each for each in msgspec.structs.fields(RunConfig)}
    for each in msgspec.structs.fields(Serving):
        mine = of_config[each.name]
        assert (mine.type, mine.default, mine.encode_name) == (each.type, each.default, each.encode_name)
    assert SERVING[0] == "proxy_mode"


def test_a_document_without_them_has_the_bytes_that_it_had_before() -> None:
    assert encode_document(made(PIPES)) == b'{"name":"time","image":"uvx://t@1","env_vars":{}}'


ACCEPTED: dict[str, dict[str, object]] = {
    "sse": PIPES | {"proxy_mode": "sse", "endpoint_prefix": "/a/b"},
    "a process for each client": PIPES | {"stdio_sessions": "per-client"},
    "no sessions": LISTENING | {"stateless": True},
    "origins": PIPES | {"allowed_origins": ["https://a.example", "http://localhost:6274", "vscode-webview://abc"]},
    "an origin with an address": PIPES | {"allowed_origins": ["http://[::1]:8080"]},
    "durations": PIPES | {"session_ttl": "1h30m", "request_timeout": "500ms"},
    "the usual duration": PIPES | {"session_ttl": "0s"},
    "redis": PIPES | {"scaling_config": {"session_redis": {"address": "rediss://[::1]:6379", "db": 3}}},
    "tls": PIPES | {"tls_certificate": "/c", "tls_key": "/k"},
    "a socket": PIPES | {"socket": "/run/x.sock"},
    "headers": REMOTE | {"header_forward": {"add_plaintext_headers": {"X-A": "b c"}}},
    "a header by secret": REMOTE | {"header_forward": {"add_headers_from_secret": {"Authorization": "token"}}},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_can_be_meant_is_kept_as_it_is(case: str) -> None:
    config = made(ACCEPTED[case])
    assert decode_run_config(encode_document(config), "") == config
    plain = msgspec.to_builtins(config)
    for key in SERVING:
        given = ACCEPTED[case].get(key)
        assert given is None or key == "scaling_config" or json.dumps(plain[key]) == json.dumps(given)


def headers(**fields: str) -> dict[str, object]:
    return REMOTE | {"header_forward": {"add_plaintext_headers": fields}}


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "an unknown mode": (PIPES | {"proxy_mode": "websocket"}, "proxy_mode 'websocket' is not one of"),
    "a mode for pipes": (LISTENING | {"proxy_mode": "sse"}, "proxy_mode sse is for servers that speak stdio"),
    "unknown sessions": (PIPES | {"stdio_sessions": "both"}, "stdio_sessions 'both' is not one of"),
    "pipes for each client": (LISTENING | {"stdio_sessions": "per-client"}, "for servers that speak stdio"),
    "sse without sessions": (PIPES | {"stateless": True, "proxy_mode": "sse"}, "stateless means no sessions"),
    "a server of sse without sessions": (PIPES | {"stateless": True, "transport": "sse"}, "stateless means no"),
    "clients without sessions": (PIPES | {"stateless": True, "stdio_sessions": "per-client"}, "stateless means no"),
    "a prefix without a slash": (PIPES | {"endpoint_prefix": "a"}, "endpoint_prefix 'a' is not the beginning"),
    "a prefix with a query": (PIPES | {"endpoint_prefix": "/a?b"}, "is not the beginning of a path"),
    "a number": (PIPES | {"session_ttl": "30"}, "session_ttl '30' is not a duration"),
    "a short session": (PIPES | {"session_ttl": "1ms"}, "session_ttl '1ms' is shorter than 1 s"),
    "a long session": (PIPES | {"session_ttl": "800h"}, "session_ttl '800h' is longer than 720 hours"),
    "a long request": (PIPES | {"request_timeout": "25h"}, "request_timeout '25h' is longer than 24 hours"),
    "an origin with a path": (PIPES | {"allowed_origins": ["https://a.example/"]}, "is not an origin"),
    "any origin": (PIPES | {"allowed_origins": ["*"]}, "'*' is not an origin"),
    "an origin in capitals": (PIPES | {"allowed_origins": ["https://A.example"]}, "is not an origin"),
    "an origin with a usual port": (PIPES | {"allowed_origins": ["https://a.example:443"]}, "leave the usual port"),
    "headers of a server here": (
        PIPES | {"header_forward": {"add_plaintext_headers": {"X-A": "b"}}},
        "header_forward adds to the requests to a remote server",
    ),
    "a header of the connection": (headers(Host="x"), "the header Host belongs to the connection"),
    "a header of proxies": (headers(**{"Proxy-Authorization": "x"}), "belongs to the connection"),
    "a header of the protocol": (headers(**{"Mcp-Session-Id": "x"}), "belongs to MCP"),
    "no name of a header": (headers(**{"X A": "x"}), "'X A' is not the name of a header"),
    "two lines in a header": (headers(**{"X-A": "a\r\nX-B: c"}), "the header X-A has no value that a header can have"),
    "a header twice": (headers(**{"X-A": "a", "x-a": "b"}), "the header x-a is given twice"),
    "replicas": (PIPES | {"scaling_config": {"backend_replicas": 2}}, "a server runs once"),
    "no redis": (PIPES | {"scaling_config": {"session_redis": {"address": "redis"}}}, "'redis' is not the address"),
    "a bad database": (PIPES | {"scaling_config": {"session_redis": {"address": "r:1", "db": -1}}}, "is below 0"),
    "half of tls": (PIPES | {"tls_certificate": "/c"}, "TLS has a certificate and no key"),
    "the other half": (PIPES | {"tls_key": "/k"}, "TLS has a key and no certificate"),
    "a relative certificate": (PIPES | {"tls_certificate": "c", "tls_key": "/k"}, "'c' is not an absolute path"),
    "a relative socket": (PIPES | {"socket": "x.sock"}, "is not an absolute path of a file"),
    "a long socket": (PIPES | {"socket": "/" + "x" * 107}, "is longer than the 107 bytes"),
    "a socket with tls": (PIPES | {"socket": "/s", "tls_certificate": "/c", "tls_key": "/k"}, "takes no TLS"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_with_what_to_do(case: str) -> None:
    document, message = REFUSED[case]
    with pytest.raises(InvalidDocument) as caught:
        made(document)
    assert message in caught.value.message
    assert caught.value.hint


def test_neither_a_password_nor_the_value_of_a_header_is_repeated() -> None:
    with pytest.raises(InvalidRequest) as caught:
        redis_address("redis://:hunter2@redis:6379")
    assert "hunter" not in f"{caught.value.message}{caught.value.hint}"
    secret = HeaderForward(add_plaintext_headers={"Authorization": "hunter2"}, add_headers_from_secret={"X": "y"})
    assert repr(secret) == "HeaderForward(Authorization, X)"
    assert "hunter" not in repr(ForwardHeader(name="Authorization", value="hunter2"))
    with pytest.raises(InvalidRequest) as refused:
        checked(RunConfig(name="x", image="", header_forward=HeaderForward(add_plaintext_headers={"A": "hunter2\n"})))
    assert "hunter" not in refused.value.message


def test_a_redis_of_toolhive_is_one_of_ours() -> None:
    config = made(PIPES, scaling_config={"backend_replicas": 1, "session_redis": {"address": "r:6379"}})
    assert config.scaling_config == ScalingConfig(backend_replicas=1, session_redis=SessionRedis(address="r:6379"))
