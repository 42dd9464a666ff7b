import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.group import DEFAULT_GROUP, valid_group


@pytest.mark.parametrize("name", [DEFAULT_GROUP, "a", "my team", "a_b-c 9", "__mcp-optimizer__", "x" * 100])
def test_a_name_that_toolhive_accepts_is_accepted(name: str) -> None:
    assert valid_group(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a  b", "Team", "ä", "a\tb", "a\nb", "a\n", "a/b", "a.b", "a\0", "x" * 101]
)
def test_any_other_name_is_refused_and_said_how_it_should_be(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot name a group") as caught:
        valid_group(name)
    assert caught.value.hint.startswith("Use 1 to 100 lower-case letters")
