import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.label import label, valid_label


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("team=search", ("team", "search")),
        ("Team=", ("Team", "")),
        ("example.com/team=A.b_c-1", ("example.com/team", "A.b_c-1")),
        ("a=1", ("a", "1")),
        (f"{'k' * 63}={'v' * 63}", ("k" * 63, "v" * 63)),
    ],
)
def test_a_label_of_the_form_of_kubernetes_is_parsed(text: str, pair: tuple[str, str]) -> None:
    assert label(text) == pair


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("team", "'team' is not KEY=VALUE"),
        ("", "is not KEY=VALUE"),
        ("=x", "'' cannot be the key of a label"),
        ("-team=x", "'-team' cannot be the key"),
        ("team.=x", "'team.' cannot be the key"),
        ("a b=x", "'a b' cannot be the key"),
        (f"{'k' * 64}=x", "cannot be the key"),
        ("/team=x", "'/team' cannot be the key"),
        ("Example.com/team=x", "cannot be the key"),
        ("a/b/c=x", "cannot be the key"),
        ("team=a=b", "'a=b' cannot be the value of the label team"),
        ("team=a b", "'a b' cannot be the value"),
        ("team=-x", "'-x' cannot be the value"),
        (f"team={'v' * 64}", "cannot be the value"),
        ("team=x\n", "cannot be the value"),
    ],
)
def test_any_other_is_refused_with_the_part_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match="label") as caught:
        label(text)
    assert message in caught.value.message
    assert caught.value.hint


def test_a_label_is_checked_in_its_parts() -> None:
    valid_label("example.com/team", "")
    with pytest.raises(InvalidRequest, match="'_' cannot be the key"):
        valid_label("_", "x")
