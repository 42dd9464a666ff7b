"""Amounts and instants in a table."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from thv_supervisor.commands.counting import amount, brief, moment


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((0, "0"), (7, "7"), (999, "999"), (1000, "1.0 k"), (1234, "1.2 k"), (9949, "9.9 k"), (9950, "10 k")),
        *((18_400, "18 k"), (999_499, "999 k"), (999_500, "1.0 M"), (21_000_000, "21 M"), (5 * 10**9, "5.0 G")),
        *((3 * 10**12, "3.0 T"), (10**16, "10000 T")),
    ],
)
def test_a_number_is_said_in_few_figures(count: int, text: str) -> None:
    assert brief(count) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (21_000_000, "21 MB")])
def test_a_number_of_bytes_has_its_unit(size: int, text: str) -> None:
    assert amount(size) == text


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TZ", "UTC-9")
    time.tzset()
    yield None
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_an_instant_is_told_in_local_time_and_with_its_day_when_that_is_over() -> None:
    assert moment(0.0) == "1970-01-01 09:00"
    now = datetime.now().astimezone()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    assert moment(midnight.timestamp()) == "00:00:00"
    assert moment(midnight.timestamp() - 1).endswith(" 23:59")
