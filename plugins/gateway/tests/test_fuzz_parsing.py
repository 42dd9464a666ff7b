"""Random bodies and headers: no exception but the documented one, and the same meaning as any JSON parser reads.

``THV_FUZZ_SECONDS`` says how long all of it takes: a few seconds when it is not set.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from thv_core.spi import Kind
from thv_gateway.eras.classification import era_of, meta_of
from thv_gateway.eras.ladder import judged
from thv_gateway.eras.mirrored import decoded, encoded
from thv_gateway.eras.tool_schemas import mirrors_of
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.parsing import MAX_DEPTH, Malformed, parse_body, parse_line
from thv_gateway.messages.versions import LEGACY_VERSIONS, MODERN_VERSIONS, Era

TESTS = 8
SECONDS = float(os.environ.get("THV_FUZZ_SECONDS", "5")) / TESTS
META = "io.modelcontextprotocol/"

scalars = (
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text()
)
values = some.recursive(
    scalars, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3)
)
versions = some.sampled_from([*LEGACY_VERSIONS, *MODERN_VERSIONS, "2099-01-01", ""])
metas = some.fixed_dictionaries(
    {},
    optional={
        f"{META}protocolVersion": versions | values,
        f"{META}clientCapabilities": some.just({}) | values,
        f"{META}clientInfo": values,
        f"{META}logLevel": some.sampled_from(["debug", "error"]) | values,
        "progressToken": values,
    },
)
parameters = some.fixed_dictionaries(
    {},
    optional={
        "name": some.text(max_size=8) | values,
        "uri": some.text(max_size=8) | values,
        "arguments": values,
        "_meta": metas | values,
        "requestState": values,
        "inputResponses": values,
    },
)
methods = some.sampled_from(
    ["tools/call", "resources/read", "prompts/get", "tools/list", "initialize", "server/discover"]
)
envelopes = some.fixed_dictionaries(
    {"jsonrpc": some.just("2.0") | values},
    optional={
        "id": some.integers() | some.text(max_size=5) | values,
        "method": methods | values,
        "params": parameters | values,
        "result": values,
        "error": values,
    },
)
spacings = some.sampled_from([{}, {"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": False}])
field_values = some.binary(max_size=40) | methods.map(str.encode) | versions.map(str.encode)
headers = some.lists(
    some.tuples(some.sampled_from([b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-param-x"]), field_values),
    max_size=6,
)


def fuzzed(*strategies: Any) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Run a test with ever new examples until the time is up."""

    def around(test: Callable[..., None]) -> Callable[[], None]:
        def run() -> None:
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                checks = settings(
                    max_examples=200,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate, Phase.shrink],
                    suppress_health_check=list(HealthCheck),
                )
                checks(given(*strategies)(test))()

        run.__name__ = test.__name__
        run.__doc__ = test.__doc__
        return run

    return around


def read(body: bytes) -> Any:
    """Return what is parsed, or the documented exception."""
    try:
        return parse_body(body)
    except Malformed as error:
        return error


@fuzzed(envelopes, spacings)
def test_what_is_accepted_means_what_any_parser_reads(envelope: dict[str, Any], spacing: dict[str, Any]) -> None:
    body = json.dumps(envelope, **spacing).encode("utf-8", "surrogatepass")
    message = read(body)
    if isinstance(message, Malformed):
        return
    meaning = json.loads(assemble(message))
    theirs = json.loads(body)
    assert meaning == {key: theirs[key] for key in meaning}
    assert message.method == theirs.get("method", "")
    assert (message.kind is Kind.REQUEST) == ("id" in theirs and "method" in theirs)
    assert message.kind is not Kind.RESPONSE or ("result" in theirs) != ("error" in theirs)


@fuzzed(envelopes, some.lists(some.tuples(some.integers(0, 4000), some.integers(0, 255)), max_size=4))
def test_a_damaged_body_is_refused_or_means_what_any_parser_reads(
    envelope: dict[str, Any], damage: list[tuple[int, int]]
) -> None:
    body = bytearray(json.dumps(envelope).encode())
    for place, byte in damage:
        body[place % len(body)] = byte
    message = read(bytes(body))
    if isinstance(message, Malformed):
        return
    theirs = json.loads(bytes(body).decode())
    meaning = json.loads(assemble(message))
    assert meaning == {key: theirs[key] for key in meaning}


@fuzzed(some.binary(max_size=400) | some.text(alphabet='{}[]":,\\u0041en1-. \t\n', max_size=400).map(str.encode))
def test_any_bytes_are_refused_in_the_documented_way(body: bytes) -> None:
    message = read(body)
    if isinstance(message, Malformed):
        assert message.code in (-32700, -32600)
        assert message.text
    parse_line(body)
    mirrors_of(body)


@fuzzed(some.lists(some.sampled_from(["name", "Name", "n\\u0061me", "na\u212ae", "uri", "x"]), min_size=1, max_size=4))
def test_no_key_is_accepted_twice(keys: list[str]) -> None:
    members = ",".join(f'"{key}":{number}' for number, key in enumerate(keys))
    body = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{{{members}}}}}'.encode()
    pairs: list[str] = []

    def note(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.extend(key for key, _ in found if key not in {"jsonrpc", "id", "method", "params"})
        return dict(found)

    json.loads(body, object_pairs_hook=note)
    is_ambiguous = len({key.casefold() for key in pairs}) != len(pairs)
    assert not is_ambiguous or isinstance(read(body), Malformed)


@fuzzed(some.integers(1, 2 * MAX_DEPTH), some.booleans())
def test_the_depth_that_is_accepted_is_the_one_that_is_documented(depth: int, is_list: bool) -> None:
    inner = "[" * depth + "]" * depth if is_list else '{"a":' * depth + "1" + "}" * depth
    body = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"x":{inner}}}}}'.encode()
    assert isinstance(read(body), Malformed) == (depth + 2 > MAX_DEPTH)


@fuzzed(envelopes, headers)
def test_the_classifier_and_the_ladder_never_fail(envelope: dict[str, Any], given_headers: list[Any]) -> None:
    message = read(json.dumps(envelope).encode("utf-8", "surrogatepass"))
    if isinstance(message, Malformed):
        return
    fields = dict(given_headers)
    version = fields.get(b"mcp-protocol-version")
    era = era_of(message, version)
    if version in {each.encode() for each in LEGACY_VERSIONS} and message.method != "initialize":
        assert era is Era.LEGACY
    refused = judged(message, given_headers, fields)
    if refused is not None:
        error = json.loads(refused.body)["error"]
        verdicts = [(404, -32601), *((400, code) for code in (-32600, -32602, -32020, -32022))]
        assert (refused.status, error["code"]) in verdicts
        return
    # What passes says the same in its head and in its body.
    assert version is not None
    if message.kind is Kind.REQUEST:
        assert json.loads(meta_of(message)[f"{META}protocolVersion"]) in MODERN_VERSIONS
        assert fields[b"mcp-method"].strip(b" \t").decode() == message.method
        if message.method == "tools/call" and message.name:
            assert decoded(fields[b"mcp-name"]) == message.name


@fuzzed(some.text(), some.binary(max_size=60))
def test_a_mirrored_value_is_read_as_it_was_written(text: str, foreign: bytes) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assert decoded(encoded(text)) == text
    assert decoded(b" \t" + encoded(text) + b" ") == text
    said = decoded(foreign)
    assert said is None or decoded(encoded(said)) == said


@fuzzed(some.integers())
def test_the_same_seed_gives_the_same_verdict(seed: int) -> None:
    noise = random.Random(seed)
    body = bytes(noise.choice(b'{}[]":,jsonrpc2.0idmethod \\u') for _ in range(noise.randrange(200)))
    first, second = read(body), read(body)
    assert type(first) is type(second)
