from __future__ import annotations

from typing import Annotated

import msgspec
import pytest

from thv_core.model.wording import Misfit, misfit


class Sample(msgspec.Struct, kw_only=True):
    port: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    rate: Annotated[float, msgspec.Meta(gt=0, lt=9)] = 1.0
    on: bool = True
    tail: int | None = None
    word: Annotated[str, msgspec.Meta(min_length=2)] = "ab"
    names: dict[str, str] = {}


def told(values: object) -> Misfit:
    """Return what is told of values that really do not fit: the wordings are those of the installed msgspec."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(values, Sample)
    return misfit(str(caught.value))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"port": "x"}, "port must be a whole number, not text"),
        ({"port": 1.5}, "port must be a whole number, not a fraction"),
        ({"port": 0}, "port must be at least 1"),
        ({"port": 10}, "port must be at most 9"),
        ({"rate": 0}, "rate must be more than 0"),
        ({"rate": 9.0}, "rate must be less than 9"),
        ({"on": {}}, "on must be true or false, not a mapping of keys to values"),
        ({"tail": []}, "tail must be a whole number or nothing, not a list"),
        ({"names": {"a": None}}, "every value of names must be text, not nothing"),
        ({"word": "a"}, "word cannot be meant: expected `str` of length >= 2"),
        ([], "it must be a mapping of keys to values, not a list"),
    ],
)
def test_what_does_not_fit_is_said_in_plain_words(values: object, sentence: str) -> None:
    assert told(values).sentence("it") == sentence


def test_a_wrong_type_comes_with_how_it_is_written() -> None:
    assert told({"on": 3}).hint == "Write true or false, without quotation marks."
