from __future__ import annotations

import json
import random

import pytest

from thv_core.spi import Kind
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.parsing import MAX_DEPTH, Malformed, parse_body, parse_line

CALL = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {"name": "echo", "arguments": {"a": [1, {"b": '\u00e4"\\'}]}, "_meta": {"progressToken": "t"}},
}
SPACINGS = [{"separators": (",", ":")}, {}, {"indent": 2}, {"indent": "\t"}, {"ensure_ascii": False}]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_call_is_read_alike_however_it_is_spaced(spacing: dict[str, object]) -> None:
    message = parse_body(json.dumps(CALL, **spacing).encode())
    assert (message.kind, message.id, message.method, message.name) == (Kind.REQUEST, b"7", "tools/call", "echo")
    assert list(message.params) == ["name", "arguments", "_meta"]
    assert json.loads(message.params["arguments"]) == CALL["params"]["arguments"]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_what_is_assembled_is_one_line_with_the_same_meaning(spacing: dict[str, object]) -> None:
    line = assemble(parse_body(json.dumps(CALL, **spacing).encode()))
    assert json.loads(line) == CALL
    assert not {b"\n"[0], b"\r"[0]} & set(line)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("place", ["envelope", "params", "meta"])
def test_a_duplicate_key_is_refused_wherever_a_stage_reads(spacing: dict[str, object], place: str) -> None:
    key = {"envelope": '"method"', "params": '"name"', "meta": '"progressToken"'}[place]
    text = json.dumps(CALL, **spacing)
    value = text[text.index(key) :].split(":", 1)[1].split(",")[0].strip("}\n\t ")
    doubled = text.replace(key, f"{key}:{value},{key}", 1)
    assert json.loads(doubled) == CALL
    with pytest.raises(Malformed, match="duplicate"):
        parse_body(doubled.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":1,"method":"a","meth\\u006fd":"a"}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"a","n\\u0061me":"b"}}',
        '{"jsonrpc":"2.0","id":1,"method":"a","x":1, "x":1}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"\u00e4":1,"\\u00e4":1}}',
    ],
)
def test_a_duplicate_behind_an_escape_or_a_space_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="duplicate"):
        parse_body(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":1,"method":"a","Params":{}}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"Name":"x"}}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"argument\u017f":{}}}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"to\u212aen":1,"token":2}}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progresstoken":1}}}',
    ],
)
def test_a_key_in_another_case_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="another case"):
        parse_body(text.encode())


def test_unknown_keys_pass_in_params_and_are_dropped_from_the_envelope() -> None:
    message = parse_body(b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"vendor/x":1},"extra":[1]}')
    assert message.params == {"vendor/x": b"1"}
    assert b"extra" not in assemble(message)


def test_depth_counts_brackets_outside_of_strings_only() -> None:
    def body(value: bytes) -> bytes:
        return b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":' + value + b"}}"

    deep = MAX_DEPTH - 2
    assert parse_body(body(b"[" * deep + b"]" * deep))
    assert parse_body(body(b'"' + b'[{\\"' * 1000 + b'"'))
    assert parse_body(body(b"[" + b"[]," * 1000 + b"[]]"))
    for too_deep in (deep + 1, 100_000):
        with pytest.raises(Malformed):
            parse_body(body(b"[" * too_deep + b"]" * too_deep))


@pytest.mark.parametrize(
    ("method", "name"), [("tools/call", "n"), ("resources/read", "u"), ("x/y", "n"), ("resources/subscribe", "u")]
)
def test_the_name_is_what_the_server_will_act_on(method: str, name: str) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "n", "uri": "u"}}
    assert parse_body(json.dumps(body).encode()).name == name


@pytest.mark.parametrize("identifier", ["[1]", "{}", "true", "null"])
def test_an_id_is_a_string_or_a_number(identifier: str) -> None:
    with pytest.raises(Malformed, match="id must be"):
        parse_body(b'{"jsonrpc":"2.0","id":%s,"method":"a"}' % identifier.encode())


def test_responses_keep_their_result_as_it_is() -> None:
    message = parse_body(b'{"jsonrpc":"2.0","id":"x","result":{"a" : 1.0e5}}')
    assert (message.kind, message.result) == (Kind.RESPONSE, b'{"a" : 1.0e5}')


def test_no_mutilation_of_a_valid_body_makes_two_readers_disagree() -> None:
    """Whatever passes has one meaning: Python's parser sees the same keys and no duplicates."""
    dice = random.Random(7)
    original = json.dumps(CALL).encode()
    alphabet = b'{}[]",: \\\n\tabdegmnopr0179u\xff'
    passed = 0
    for _ in range(20_000):
        body = bytearray(original)
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(body))
            body[place : place + dice.randint(0, 2)] = bytes(dice.choices(alphabet, k=dice.randint(0, 2)))
        try:
            message = parse_body(bytes(body))
        except Malformed:
            continue
        passed += 1
        envelope = json.loads(bytes(body), object_pairs_hook=_unique_outside)
        assert json.loads(assemble(message))["method"] == envelope["method"]
    assert passed > 500


def _unique_outside(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if "jsonrpc" in found or "progressToken" in found:
        assert len(found) == len(pairs)
    return found


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"[]",
        b"5",
        b'{"id":1}',
        b'{"jsonrpc":"2.0"}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"1.0","id":1}',
    ],
)
def test_lines_that_are_not_messages_are_none(line: bytes) -> None:
    assert parse_line(line) is None


def test_an_error_in_a_line_wins_over_a_result() -> None:
    message = parse_line(b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1}}')
    assert message is not None
    assert (message.result, message.error) == (b"", b'{"code":1}')


def test_a_line_that_is_not_utf8_is_mended() -> None:
    message = parse_line(b'{"jsonrpc":"2.0","id":1,"result":"\xff"}')
    assert message is not None
    assert json.loads(message.result) == "\ufffd"
