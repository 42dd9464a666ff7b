"""The record on disk, written here and read by another process."""

import asyncio
import json
import os
import threading
import time

import msgspec
import pytest

from thv_core.spi import EgressRecord, Verdict, Way
from thv_egress.log_reading import read_records
from thv_egress.recording import Recorder, RecordUnusable


def record(number=0, workload="fetch"):
    return EgressRecord(
        at=float(number),
        workload=workload,
        incarnation=f"{workload}.1",
        way=Way.NAME,
        verdict=Verdict.ALLOWED,
        host=f"host-{number:06d}.test",
    )


def read(path, workload="", files=4):
    return [int(each.at) for batch in read_records(path, files, workload, follow=False) for each in batch]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log" / "egress.jsonl"


def test_a_record_is_on_disk_a_moment_later_as_a_line_of_json(path, run, wait):
    async def scene():
        recorder = Recorder(path, 1 << 20, 4)
        recorder.write(record(7))
        assert not path.exists(), "nothing is written while the loop has something better to do"
        await wait(path.exists, "the record is written")
        assert json.loads(path.read_text())["host"] == "host-000007.test"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        recorder.close()
        path.unlink()

    run(scene())


def test_full_files_are_rotated_and_their_number_is_bounded(path, run):
    async def scene():
        recorder = Recorder(path, 65536, 3)
        for number in range(5000):
            recorder.write(record(number))
            if number % 50 == 0:
                recorder.flush()
        recorder.close()
        assert sorted(each.name for each in path.parent.iterdir()) == [
            "egress.jsonl",
            "egress.jsonl.1",
            "egress.jsonl.2",
        ]
        assert all(each.stat().st_size < 65536 * 2 for each in path.parent.iterdir())
        found = read(path)
        assert found == list(range(found[0], 5000)), "the last ones, in order, without a gap"
        for each in path.parent.iterdir():
            each.unlink()

    run(scene())


def test_a_line_that_a_killed_writer_tore_is_skipped(path, run):
    async def scene():
        first = Recorder(path, 1 << 20, 4)
        first.write(record(1))
        first.close()
        with path.open("ab") as file:
            file.write(msgspec.json.encode(record(2))[:30])
        second = Recorder(path, 1 << 20, 4)
        second.write(record(3))
        second.close()
        assert read(path) == [1, 3]
        path.unlink()

    run(scene())


def test_lines_of_another_version_are_skipped(path):
    path.parent.mkdir()
    path.write_bytes(b'{"at":1,"new":true}\n[]\n\n\xff\n' + msgspec.json.encode(record(4)) + b"\n")
    assert read(path) == [4]


def test_only_the_records_of_one_workload_are_read(path, run):
    async def scene():
        recorder = Recorder(path, 1 << 20, 4)
        for number in range(6):
            recorder.write(record(number, ("fetch", "git")[number % 2]))
        recorder.close()
        assert read(path, "git") == [1, 3, 5]
        assert read(path, "none") == []
        path.unlink()

    run(scene())


def test_nothing_recorded_yet_is_nothing(path):
    assert read(path) == []
    assert next(read_records(path, 4, "", follow=True)) == []


def test_two_writers_of_one_file_rotate_it_together(path, run):
    async def scene():
        draining, new = Recorder(path, 65536, 4), Recorder(path, 65536, 4)
        for number in range(900):
            recorder = (draining, new)[number % 2]
            recorder.write(record(number))
            recorder.flush()
        draining.close()
        new.close()
        found = read(path)
        assert found == list(range(found[0], 900))
        assert len(list(path.parent.iterdir())) > 1
        for each in path.parent.iterdir():
            each.unlink()

    run(scene())


def test_a_removed_file_is_made_again(path, run):
    async def scene():
        recorder = Recorder(path, 1 << 20, 4)
        recorder.write(record(1))
        recorder.flush()
        path.unlink()
        recorder.write(record(2))
        recorder.flush()
        assert read(path) == [2]
        recorder.close()
        path.unlink()

    run(scene())


def test_a_full_disk_is_said_and_nothing_is_lost_when_there_is_room_again(path, run, wait, monkeypatch, caplog):
    monkeypatch.setattr("thv_egress.recording.RETRY", 0.05)

    async def scene():
        recorder = Recorder(path, 1 << 20, 4)
        recorder.open()
        write = os.write

        def full(descriptor, data):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            recorder.write(record(1))
            recorder.flush()
            assert recorder.failing
            recorder.write(record(2))
            # A disk that takes a part and then no more leaves a line that is continued later.
            taken = iter([10])

            def part(descriptor, data):
                for size in taken:
                    return write(descriptor, bytes(data[:size]))
                return full(descriptor, data)

            patch.setattr(os, "write", part)
            await wait(lambda: path.stat().st_size == 10, "a part is written")
            assert recorder.failing
        await wait(lambda: not recorder.failing, "it recovers by itself")
        assert read(path) == [1, 2]
        assert "No space left" in caplog.text
        assert "0 were lost" in caplog.text
        recorder.close()
        path.unlink()

    run(scene())


def test_what_waits_for_a_full_disk_is_bounded(path, run, monkeypatch):
    monkeypatch.setattr("thv_egress.recording.MOST_WAITING", 10_000)

    async def scene():
        path.mkdir(parents=True)
        recorder = Recorder(path, 1 << 20, 4)
        for number in range(1000):
            recorder.write(record(number))
        recorder.flush()
        assert len(recorder._waiting) < 11_000
        recorder.close()
        path.rmdir()

    run(scene())


def test_a_place_that_cannot_be_written_is_known_before_anything_is_served(path, run):
    async def scene():
        path.mkdir(parents=True)
        with pytest.raises(RecordUnusable) as caught:
            Recorder(path, 1 << 20, 4).open()
        assert caught.value.hint
        path.rmdir()

    run(scene())


def test_a_symbolic_link_is_not_followed(path, run, tmp_path):
    async def scene():
        path.parent.mkdir(exist_ok=True)
        (tmp_path / "victim").touch()
        path.symlink_to(tmp_path / "victim")
        with pytest.raises(RecordUnusable):
            Recorder(path, 1 << 20, 4).open()
        path.unlink()

    run(scene())


def test_following_misses_nothing_while_files_are_rotated(path):
    """A reader follows while a writer in another thread rotates as fast as it can."""
    found, expected = [], 4000
    done = threading.Event()

    async def write():
        recorder = Recorder(path, 65536, 4)
        for number in range(expected):
            recorder.write(record(number))
            if number % 40 == 39:
                recorder.flush()
                await asyncio.sleep(0.002)
        recorder.close()

    def writing():
        asyncio.run(write())
        done.set()

    thread = threading.Thread(target=writing)
    thread.start()
    deadline = time.monotonic() + 60
    for batch in read_records(path, 4, "", follow=True):
        found += [int(each.at) for each in batch]
        if len(found) >= expected or time.monotonic() > deadline:
            break
        if not batch:
            time.sleep(0.001)
    thread.join()
    assert found == list(range(expected))


def test_a_follower_that_slept_too_long_goes_on_with_the_oldest_that_exists(path, run):
    async def scene():
        recorder = Recorder(path, 65536, 2)
        recorder.write(record(0))
        recorder.flush()
        following = read_records(path, 2, "", follow=True)
        assert [int(each.at) for each in next(following)] == [0]
        for number in range(1, 3000):
            recorder.write(record(number))
            if number % 50 == 0:
                recorder.flush()
        recorder.close()
        found = [int(each.at) for _ in range(20) for each in next(following)]
        assert found[-1] == 2999
        at = found.index(read(path, files=2)[0])
        assert found[at:] == read(path, files=2)
        following.close()
        for each in path.parent.iterdir():
            each.unlink()

    run(scene())


def test_a_follower_never_yields_half_a_line(path):
    path.parent.mkdir()
    line = msgspec.json.encode(record(5)) + b"\n"
    path.write_bytes(line[:20])
    following = read_records(path, 4, "", follow=True)
    assert next(following) == []
    with path.open("ab") as file:
        file.write(line[20:])
    assert [int(each.at) for each in next(following)] == [5]
