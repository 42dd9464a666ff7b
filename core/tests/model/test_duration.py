"""Durations as Go writes them."""

from __future__ import annotations

import pytest

from thv_core.model.duration import duration_seconds, duration_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), ("90s", 90), ("1h30m", 5400), ("500ms", 0.5), ("1.5h", 5400), (".5m", 30), ("2h0m0s", 7200)],
)
def test_a_duration_is_its_seconds(text: str, seconds: float) -> None:
    assert duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "1d", "-5s", "5 s", "s", "1h 2m", "5s\n"])
def test_what_go_would_not_read_is_none(text: str) -> None:
    assert duration_seconds(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, ""), (5, "5s"), (0.5, "0.5s"), (90, "1m30s"), (3600, "1h0m0s"), (5400, "1h30m0s"), (3601.25, "1h0m1.25s")],
)
def test_seconds_are_written_as_they_are_read(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert duration_seconds(text or "0s") == pytest.approx(seconds)
