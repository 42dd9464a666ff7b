from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.quantity import memory_bytes, memory_text


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1),
        ("1024", 1024),
        ("512B", 512),
        ("512MiB", 512 << 20),
        ("512Mi", 512 << 20),
        ("512 MiB", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("1Ki", 1024),
        ("1ki", 1024),
        ("1k", 1000),
        ("1KB", 1000),
        ("500M", 500_000_000),
        ("500MB", 500_000_000),
        ("2G", 2_000_000_000),
        ("1T", 10**12),
        ("1024Ti", 1 << 50),
    ],
)
def test_an_amount_is_a_number_with_or_without_unit(text: str, amount: int) -> None:
    assert memory_bytes(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "MiB", "much", "-1", "-1MiB", "+1", "0", "0MiB", "0.0001k", "1e3", "1,5GiB", "1..5G", "1.G", ".5G"),
        *("512m", "512mb", "1g", "5iB", "512  MiB", "512MiB ", " 512MiB", "512MiB\n", "1P", "1PiB", "nan", "inf"),
        *("\u0665MiB", "1024.001Ti", "999999999999T", "1" * 13),
    ],
)
def test_what_is_no_amount_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an amount of memory") as caught:
        memory_bytes(text)
    assert "512MiB" in caught.value.hint


@pytest.mark.parametrize(
    ("amount", "text"),
    [(512 << 20, "512 MiB"), (1 << 20, "1 MiB"), ((2 << 20) - 1, "1 MiB"), (4 << 30, "4096 MiB"), (1023, "1023 bytes")],
)
def test_an_amount_is_said_in_mebibytes(amount: int, text: str) -> None:
    assert memory_text(amount) == text


@pytest.mark.parametrize("mebibytes", [1, 16, 512, 4096, 1 << 20])
def test_what_is_said_means_the_same_again(mebibytes: int) -> None:
    assert memory_bytes(memory_text(mebibytes << 20)) == mebibytes << 20
