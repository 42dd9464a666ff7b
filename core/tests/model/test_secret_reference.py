from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.secret_reference import secret_reference


@pytest.mark.parametrize(
    ("text", "name", "target", "from_shell"),
    [
        ("github,target=TOKEN", "github", "TOKEN", False),
        ("env:MY_TOKEN,target=TOKEN", "env:MY_TOKEN", "TOKEN", True),
        ("op://vault/item/field,target=_T1", "op://vault/item/field", "_T1", False),
    ],
)
def test_a_reference_is_a_name_and_a_variable(text: str, name: str, target: str, from_shell: bool) -> None:
    found = secret_reference(text)
    assert (found.name, found.target, found.from_shell) == (name, target, from_shell)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "github",
        "github,",
        ",target=A",
        "github,target=",
        "a,target=1A",
        "a,target=A B",
        "a,target=A,x",
        "a,b,target=A",
    ],
)
def test_what_is_no_reference_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a secret reference") as caught:
        secret_reference(text)
    assert "NAME,target=VARIABLE" in caught.value.hint


def test_a_secret_that_is_written_in_the_place_of_its_name_is_not_repeated() -> None:
    with pytest.raises(InvalidRequest) as caught:
        secret_reference("TOKEN=hunter2")
    assert "hunter2" not in str(caught.value)
    assert "'TOKEN=…' is not a secret reference" in caught.value.message
