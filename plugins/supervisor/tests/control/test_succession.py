"""Control replaced by its successor, in a real process that re-executes itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from thv_supervisor.control.succession import Handover, name_interpreter, receive

PREDECESSOR = """
import json, os, sys
from thv_supervisor.control import succession
reading, writing = os.pipe()
os.set_inheritable(reading, False)
os.write(writing, b"alive")
os.close(writing)
print(os.getpid(), flush=True)
values = {"echo": {"env:T": "v4lue" * 20000}}
succession.succeed(sys.executable, reading, succession.Handover(values, True),
    {**os.environ, "ADOPTED": "yes"})
"""
SUCCESSOR = """
import json, os, sys
sys.path.append(os.environ["REAL"])
import importlib.util
spec = importlib.util.spec_from_file_location("succession", os.environ["SUCCESSION"])
succession = importlib.util.module_from_spec(spec)
sys.modules["succession"] = succession
spec.loader.exec_module(succession)
lifeline, descriptor = map(int, sys.argv[1:])
handed = succession.receive(descriptor)
try:
    os.fstat(descriptor)
    closed = False
except OSError:
    closed = True
print(json.dumps({"pid": os.getpid(), "values": handed.shell_values, "renew": handed.renew_gateway, "closed": closed,
    "lifeline": os.read(lifeline, 99).decode(), "argv": sys.argv, "environ": dict(os.environ)}))
"""


def test_a_successor_is_the_same_process_with_lifeline_and_values(tmp_path: Path) -> None:
    from thv_supervisor.control import succession

    # The successor finds this module in the place of the real control.
    stand_in = tmp_path / "thv_supervisor" / "control"
    stand_in.mkdir(parents=True)
    (tmp_path / "thv_supervisor" / "__init__.py").touch()
    (stand_in / "__init__.py").touch()
    (stand_in / "__main__.py").write_text(SUCCESSOR)
    source = str(succession.__file__)
    (stand_in / "succession.py").write_text(Path(source).read_text(encoding="utf-8"))
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "SUCCESSION": source, "REAL": ""}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PREDECESSOR], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    pid, told = done.stdout.splitlines()
    said = json.loads(told)
    assert said["pid"] == int(pid)
    assert said["values"] == {"echo": {"env:T": "v4lue" * 20000}}
    assert (said["renew"], said["closed"], said["lifeline"]) == (True, True, "alive")
    assert said["environ"]["ADOPTED"] == "yes"
    assert "v4lue" not in "".join(said["argv"])
    assert "v4lue" not in json.dumps(said["environ"])


def test_without_a_predecessor_nothing_is_handed_over() -> None:
    assert receive(None) == Handover()


def test_values_are_not_shown() -> None:
    assert "v4lue" not in repr(Handover({"echo": {"env:T": "v4lue"}}))


def test_the_link_names_one_or_the_other_interpreter_at_every_moment(tmp_path: Path) -> None:
    link = tmp_path / "interpreter"
    name_interpreter(link, "/a/python")
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(str(link.readlink()))

    looking = threading.Thread(target=look)
    looking.start()
    for turn in range(300):
        name_interpreter(link, "/b/python" if turn % 2 else "/a/python")
    done.set()
    looking.join(20)
    assert not looking.is_alive()
    assert seen <= {"/a/python", "/b/python"}
    assert str(link.readlink()) == "/b/python"


def test_what_an_interrupted_change_of_the_link_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    link = tmp_path / "interpreter"
    left = f".interpreter.{os.getpid()}.0"
    link.with_name(left).symlink_to("/gone")
    name_interpreter(link, "/a/python")
    assert str(link.readlink()) == "/a/python"
    assert {path.name for path in tmp_path.iterdir()} == {"interpreter", left}


def test_two_that_name_an_interpreter_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    link = tmp_path / "interpreter"

    def name_often(interpreter: str) -> None:
        for _ in range(200):
            name_interpreter(link, interpreter)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(name_often, ["/a/python", "/b/python"]))
    assert str(link.readlink()) in ("/a/python", "/b/python")
    assert [path.name for path in tmp_path.iterdir()] == ["interpreter"]
