"""Names keep the addresses of the pool that stand for them."""

import fcntl
import ipaddress
import os
import time

import pytest

from thv_egress.names import MOST_NAMES, NamesUnusable, PoolNames, prune

POOL = ipaddress.IPv4Network("11.254.0.0/16")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fetch.1"


def test_a_name_gets_one_address_and_the_address_gives_it_back(path):
    names = PoolNames(POOL, path)
    first, second = names.address("a.test"), names.address("b.test")
    assert first != second
    assert names.address("a.test") == first
    assert (names.name(first), names.name(second)) == ("a.test", "b.test")
    assert {first, second} <= {str(address) for address in POOL.hosts()}
    assert first != str(next(POOL.hosts())), "that one may be the interface's"
    assert names.name("11.254.9.9") == ""


def test_a_mapping_is_on_disk_before_it_is_told_and_private(path):
    address = PoolNames(POOL, path).address("a.test")
    assert path.read_text() == f"{address} a.test\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_process_knows_what_the_old_one_told(path):
    old = PoolNames(POOL, path)
    told = {name: old.address(name) for name in ("a.test", "b.test", "c.test")}
    new = PoolNames(POOL, path)
    assert {name: new.address(name) for name in reversed(told)} == told
    assert new.address("d.test") not in told.values()


def test_two_processes_at_once_never_tell_one_address_for_two_names(path):
    draining, new = PoolNames(POOL, path), PoolNames(POOL, path)
    addresses = {}
    for number in range(20):
        names = (draining, new)[number % 2]
        addresses[f"n{number}.test"] = names.address(f"n{number}.test")
    assert len(set(addresses.values())) == 20
    for name, address in addresses.items():
        assert draining.name(address) == new.name(address) == name


@pytest.mark.parametrize("torn", ["11.254.0.3 b.te", "11.254.0.3 b.test", "11.2", "11.254.0.3"])
def test_half_a_line_of_a_killed_process_is_nobodys(path, torn):
    first = PoolNames(POOL, path).address("a.test")
    with path.open("a") as file:
        file.write(torn)
    after = PoolNames(POOL, path)
    second = after.address("other.test")
    assert after.name(second) == "other.test"
    again = PoolNames(POOL, path)
    assert (again.name(first), again.name(second)) == ("a.test", "other.test")
    assert again.address("b.test") not in (first, second)


def test_garbage_in_the_file_harms_no_mapping(path):
    path.write_bytes(b"\xff\xfe\0\n\n \nno-name\n11.254.0.2 a.test\n11.254.0.2 b.test\n11.254.0.9 a.test\n")
    names = PoolNames(POOL, path)
    assert names.name("11.254.0.2") == "a.test"
    assert names.address("a.test") == "11.254.0.2"


def test_the_pool_is_used_up_without_an_error(tmp_path):
    names = PoolNames(ipaddress.IPv4Network("11.254.0.0/28"), tmp_path / "a.1")
    told = [names.address(f"n{number}.test") for number in range(20)]
    assert len(set(told)) == 14
    assert told[13:] == [""] * 7
    assert names.address("n0.test") == told[0]


def test_no_incarnation_has_more_names_than_the_limit(path):
    path.write_text("".join(f"11.254.{n // 250 + 1}.{n % 250 + 1} n{n}.test\n" for n in range(MOST_NAMES)))
    names = PoolNames(POOL, path)
    assert names.address("one-more.test") == ""
    assert names.address("n17.test")


def test_an_address_is_not_told_when_it_cannot_be_written(path):
    names = PoolNames(POOL, path)
    path.mkdir()
    with pytest.raises(NamesUnusable):
        names.address("a.test")
    path.rmdir()
    assert names.address("a.test")


def test_a_file_that_somebody_holds_is_not_waited_for(path):
    names = PoolNames(POOL, path)
    names.address("a.test")
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert names.address("a.test")
        with pytest.raises(NamesUnusable):
            names.address("b.test")
    assert names.address("b.test")


def test_a_full_disk_leaves_whole_lines(path, monkeypatch):
    names = PoolNames(POOL, path)
    first = names.address("a.test")
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
        with pytest.raises(NamesUnusable):
            names.address("b.test")
    assert path.read_text() == f"{first} a.test\n"
    assert names.name(names.address("b.test")) == "b.test"


def test_a_file_that_somebody_removed_is_written_again(path):
    names = PoolNames(POOL, path)
    told = {name: names.address(name) for name in ("a.test", "b.test")}
    path.unlink()
    assert names.name(told["a.test"]) == "a.test"
    told["c.test"] = names.address("c.test")
    again = PoolNames(POOL, path)
    assert {name: again.address(name) for name in told} == told
    assert len(set(told.values())) == 3


def test_files_of_earlier_incarnations_and_forgotten_ones_are_removed(tmp_path):
    for name in ("fetch.1", "fetch.2", "fetch.10", "git.1", "old.3", "served.4", "fetch.x"):
        (tmp_path / name).touch()
    long_ago = time.time() - 100 * 86400
    for name in ("old.3", "served.4"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    prune(tmp_path, "fetch.10", {"fetch.2": 1, "served.4": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fetch.10", "fetch.2", "git.1", "served.4"]


def test_of_a_file_that_cannot_be_read_nothing_is_known(path):
    names = PoolNames(POOL, path)
    path.mkdir()
    assert names.name("11.254.0.2") == ""
