"""Which installation a process runs from, and which of two takes over."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from thv_core import __version__
from thv_supervisor.installations import Installation, Verdict, installation, verdict

OWN = Installation(prefix="/a", interpreter="/a/python", version="1.2.0", fingerprint="f")


@pytest.mark.parametrize(
    ("interpreter", "version", "fingerprint", "expected"),
    [
        ("/a/python", "1.2.0", "f", Verdict.STAY),
        ("/a/python", "1.2.0", "g", Verdict.RENEW),
        ("/a/python", "1.1.0", "g", Verdict.RENEW),
        ("/a/python", "1.3.0", "f", Verdict.RENEW),
        ("/a/python3", "1.2.0", "f", Verdict.STAY),
        ("/b/python", "1.2.0", "f", Verdict.YIELD),
        ("/b/python", "1.2.0", "g", Verdict.YIELD),
        ("/b/python", "1.2.1", "g", Verdict.YIELD),
        ("/b/python", "1.10.0", "g", Verdict.YIELD),
        ("/b/python", "2.0", "g", Verdict.YIELD),
        ("/b/python", "1.1.9", "f", Verdict.OUTRANK),
        ("/b/python", "0.9", "g", Verdict.OUTRANK),
    ],
)
def test_the_verdict_on_a_caller(interpreter: str, version: str, fingerprint: str, expected: Verdict) -> None:
    assert verdict(OWN, Installation(str(Path(interpreter).parent), interpreter, version, fingerprint)) is expected


def test_a_header_tells_everything_in_ascii() -> None:
    odd = Installation(prefix="/höme", interpreter='/höme/"x"/python\n', version="1", fingerprint="f")
    assert odd.header().isascii()
    assert "\n" not in odd.header()
    assert Installation.from_header(odd.header()) == odd


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "null",
        "[]",
        "5",
        "{}",
        json.dumps({"interpreter": "a", "version": "1"}),
        json.dumps({"prefix": "a", "interpreter": "a", "version": "1", "fingerprint": "f", "more": "x"}),
        json.dumps({"prefix": "a", "interpreter": "a", "version": 1, "fingerprint": "f"}),
        json.dumps({"prefix": "a", "interpreter": None, "version": "1", "fingerprint": "f"}),
        "[" * 100_000,
    ],
)
def test_a_malformed_header_is_a_value_error(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reason is the parser's
        Installation.from_header(value)


def test_this_process_has_an_installation() -> None:
    mine = installation()
    assert (mine.interpreter, mine.version) == (sys.executable, __version__)
    assert mine == installation()
    assert len(mine.fingerprint) == 64
