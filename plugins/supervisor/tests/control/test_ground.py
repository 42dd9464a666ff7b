"""Values that came from shells: those of a workload, and those of its change."""

from __future__ import annotations

from thv_supervisor.control.ground import ShellValues


def test_a_change_has_the_values_of_the_workload_and_its_own_before_them() -> None:
    values = ShellValues({"a": {"x": "1", "y": "1"}})
    values.keep_change("a", {"y": "2"})
    assert values.of_change("a") == {"x": "1", "y": "2"}
    assert values.of("a") == {"x": "1", "y": "1"}


def test_a_change_that_is_made_leaves_one_set_of_values() -> None:
    values = ShellValues({"a": {"x": "1"}})
    values.keep_change("a", {"y": "2"})
    values.adopt_change("a")
    assert values.all() == {"a": {"x": "1", "y": "2"}}


def test_a_change_that_is_not_made_leaves_what_was_before() -> None:
    values = ShellValues({"a": {"x": "1"}})
    values.keep_change("a", {"x": "2"})
    values.forget_change("a")
    assert values.all() == {"a": {"x": "1"}}


def test_what_is_forgotten_or_not_retained_leaves_nothing() -> None:
    values = ShellValues({"a": {"x": "1"}, "b": {"x": "1"}})
    for name in ("a", "b"):
        values.keep_change(name, {"x": "2"})
    values.retain(["a"])
    assert values.of_change("b") == {}
    values.forget("a")
    assert values.all() == {}


def test_no_values_are_shown() -> None:
    assert "s3cret" not in repr(ShellValues({"a": {"x": "s3cret"}}))
